package bailiff.exec

# What the rules on executing share.

# In a container, as far as the pid namespace tells: containers that share the
# host's are not recognised, and sandboxes that have their own are taken for one.
in_container if input.process.ns.pid != data.host_pid_namespace

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
