package bailiff.exec

# What the rules on executing share.

# Sandboxes that have mounts and processes of their own count too.
in_container if "container" in input.process.traits

below_manager if input.process.exe.path in data.package_managers

below_manager if input.process.exe.path in data.config_management

below_manager if {
	some above in input.process.ancestors
	above in data.package_managers
}

below_manager if {
	some above in input.process.ancestors
	above in data.config_management
}
