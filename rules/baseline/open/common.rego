package bailiff.open

# What the rules on opening share.

for_writing if {
	some way in ["write", "append", "create", "truncate"]
	way in input.open.flags
}

below_package_manager if input.process.exe.path in data.package_managers

below_package_manager if {
	some above in input.process.ancestors
	above in data.package_managers
}

# Who may change the system: package managers, configuration management, and
# what they run.
below_manager if below_package_manager

below_manager if input.process.exe.path in data.config_management

below_manager if {
	some above in input.process.ancestors
	above in data.config_management
}
