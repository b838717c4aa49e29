package bailiff.open

# METADATA
# title: Accounts or sudo rules opened for writing
# description: |
#   passwd, group, their shadows, subuid and sudoers are written by the account
#   tools, by what visudo and vipw run, by package managers and by configuration
#   management. Anything else is denied, an editor on /etc/sudoers too: use
#   visudo. A file that is moved into place (sed -i) counts.
# custom: {id: account-sudo-tamper, severity: critical, attack: [T1136.001, T1548.003]}
deny contains {"message": message} if {
	for_writing
	account_file
	not below_manager
	not below_account_tool
	not input.process.exe.path in data.exceptions.account_sudo_tamper.exe
	not input.file.path in data.exceptions.account_sudo_tamper.file
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}

account_file if input.file.path in data.account_files

account_file if startswith(input.file.path, "/etc/sudoers.d/")

below_account_tool if input.process.exe.path in data.account_tools

below_account_tool if {
	some above in input.process.ancestors
	above in data.account_tools
}
