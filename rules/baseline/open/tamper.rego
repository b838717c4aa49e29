package bailiff.open

# METADATA
# title: System program or library opened for writing
# description: |
#   Only package managers, and what they run, change programs, libraries and
#   the boot files.
# custom: {id: system-binary-tamper, severity: high, attack: [T1554]}
deny contains {"message": message} if {
	some way in ["write", "append", "create", "truncate"]
	way in input.open.flags
	some dir in data.system_directories
	startswith(input.file.path, dir)
	not below_package_manager
	not input.process.exe.path in data.exceptions.system_binary_tamper.exe
	not input.file.path in data.exceptions.system_binary_tamper.file
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}
