package bailiff.open

# METADATA
# title: SSH host key opened by an unlisted program
# description: |
#   The host keys are for sshd and the tools of OpenSSH. Backup programs need an
#   exception. Keys at places other than /etc/ssh are not known here: name them
#   in data.host_keys.
# custom: {id: private-key-read, severity: high, attack: [T1552.004]}
deny contains {"message": message} if {
	input.file.path in data.host_keys
	not input.process.exe.path in data.host_key_readers
	not input.process.exe.path in data.exceptions.private_key_read.exe
	not below_manager
	message := sprintf("%s opened the host key %s", [input.process.exe.path, input.file.path])
}

# METADATA
# title: SSH key of a user opened by an unlisted program
# description: |
#   A file with the usual name of a private SSH key, wherever it is, is opened
#   by something other than the tools of OpenSSH. Keys with names of their own
#   are not found.
# custom: {id: user-key-read, severity: medium, attack: [T1552.004]}
alert contains {"message": message} if {
	input.file.name in data.user_keys
	not input.process.exe.path in data.user_key_readers
	not input.process.exe.path in data.exceptions.user_key_read.exe
	not below_manager
	message := sprintf("%s opened the key %s", [input.process.exe.path, input.file.path])
}

# METADATA
# title: TLS key opened by an unlisted program
# description: |
#   A file in a directory of TLS private keys is opened by something other than
#   a listed server or tool. Servers are many: list yours in
#   data.tls_key_readers. Keys elsewhere are not known here.
# custom: {id: tls-key-read, severity: medium, attack: [T1552.004]}
alert contains {"message": message} if {
	some dir in data.tls_key_directories
	startswith(input.file.path, dir)
	not "directory" in input.open.flags
	not input.process.exe.path in data.tls_key_readers
	not input.process.exe.path in data.web_servers
	not input.process.exe.path in data.databases
	not input.process.exe.path in data.exceptions.tls_key_read.exe
	not below_manager
	message := sprintf("%s opened %s", [input.process.exe.path, input.file.path])
}
