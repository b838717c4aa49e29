package bailiff.exec

# METADATA
# title: Shell on a network connection
# description: |
#   A shell, an interpreter or netcat is started with a network connection as its
#   standard input or output: a reverse or bind shell. UNIX sockets are not meant,
#   which services of systemd and pipes of Node.js have there, nor sockets that
#   only listen. What inetd and its like start passes, and what systemd itself
#   starts on a connection; for a script of yours that is started so and runs
#   other shells, put its cgroup into audit mode. Not seen: a shell behind a pipe
#   or a terminal (socat, mkfifo), or one that takes its socket after it started.
# custom: {id: shell-on-socket, severity: critical, attack: [T1059.004]}
deny contains {"message": message} if {
	input.file.name in data.shells
	on_network
	not input.process.exe.path in data.socket_starters
	not below_inetd
	not input.process.exe.path in data.exceptions.shell_on_socket.exe
	not input.file.path in data.exceptions.shell_on_socket.file
	message := sprintf("%s ran %s on a network connection", [input.process.exe.path, input.file.path])
}

on_network if "stdin_network" in input.process.stdio

on_network if "stdout_network" in input.process.stdio

below_inetd if input.process.exe.path in data.inetds

below_inetd if {
	some above in input.process.ancestors
	above in data.inetds
}
