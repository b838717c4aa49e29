package bailiff.exec

# METADATA
# title: Server looks around
# description: |
#   Something below a web or database server asks who and where it is: id,
#   uname, ps, ip. One such call is reported; how many come in a burst is for the
#   SIEM to count. Applications that call these tools need an exception. What a
#   shell does itself (reading /proc, hostname as a variable) is not seen.
# custom: {id: recon-by-server, severity: medium, attack: [T1033, T1082, T1057, T1016]}
alert contains {"message": message} if {
	input.file.name in data.packs.recon.tools
	packs_recon_below_server
	not input.file.path in data.packs.recon.exceptions.file
	not packs_recon_excepted
	message := sprintf("%s ran %s below a server", [input.process.exe.path, input.file.path])
}

packs_recon_below_server if input.process.exe.path in data.packs.recon.servers

packs_recon_below_server if {
	some above in input.process.ancestors
	above in data.packs.recon.servers
}

packs_recon_excepted if input.process.exe.path in data.packs.recon.exceptions.below

packs_recon_excepted if {
	some above in input.process.ancestors
	above in data.packs.recon.exceptions.below
}
