package bailiff.open

# METADATA
# title: Password hashes opened by an unlisted program
# description: |
#   Only the programs in data.password_readers, and what package managers run,
#   have business in the password files.
# custom: {id: shadow-read, severity: critical, attack: [T1003.008]}
deny contains {"message": message} if {
	input.file.path in data.password_files
	not input.process.exe.path in data.password_readers
	not input.process.exe.path in data.exceptions.shadow_read.exe
	not below_package_manager
	message := sprintf("%s opened %s", [input.process.exe.path, input.file.path])
}

below_package_manager if input.process.exe.path in data.package_managers

below_package_manager if {
	some above in input.process.ancestors
	above in data.package_managers
}
