package bailiff.exec

# METADATA
# title: Shell below a web server
# description: |
#   A web or application server, or anything that it started, runs a shell, an
#   interpreter or netcat. Make it a deny rule once the alerts are quiet.
# custom: {id: web-spawns-shell, severity: high, attack: [T1505.003, T1190]}
alert contains {"message": message} if {
	input.file.name in data.shells
	below_web_server
	not input.file.path in data.exceptions.web_spawns_shell.file
	message := sprintf("%s ran %s below a web server", [input.process.exe.path, input.file.path])
}

below_web_server if input.process.exe.path in data.web_servers

below_web_server if {
	some above in input.process.ancestors
	above in data.web_servers
}
