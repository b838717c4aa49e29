package bailiff.open

# METADATA
# title: Keys for logging in changed
# description: |
#   A file named authorized_keys, wherever it is, is opened for writing by
#   something other than sshd or configuration management. ssh-copy-id is a
#   shell on the other side, so it is reported. Another AuthorizedKeysFile in
#   sshd_config is not seen.
# custom: {id: authorized-keys-write, severity: high, attack: [T1098.004]}
alert contains {"message": message} if {
	for_writing
	input.file.name in ["authorized_keys", "authorized_keys2"]
	not input.process.exe.path in data.authorized_keys_writers
	not input.process.exe.path in data.exceptions.authorized_keys_write.exe
	not input.file.path in data.exceptions.authorized_keys_write.file
	not below_manager
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}
