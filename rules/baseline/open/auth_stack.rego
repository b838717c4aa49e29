package bailiff.open

# METADATA
# title: Login configuration opened for writing
# description: |
#   PAM, nsswitch, sshd and sssd decide who gets in. Package managers,
#   configuration management and the tools in the exceptions may write there; an
#   administrator's editor may not, unless it is an exception. PAM modules below
#   /usr/lib are covered by system-binary-tamper.
# custom: {id: auth-stack-tamper, severity: critical, attack: [T1556.003]}
deny contains {"message": message} if {
	for_writing
	auth_file
	not below_manager
	not input.process.exe.path in data.exceptions.auth_stack_tamper.exe
	not input.file.path in data.exceptions.auth_stack_tamper.file
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}

auth_file if input.file.path in data.auth_files

auth_file if {
	some dir in data.auth_directories
	startswith(input.file.path, dir)
}
