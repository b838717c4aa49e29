package bailiff.exec

# METADATA
# title: Tool for leaving a container run in one
# description: |
#   nsenter, unshare or debugfs is run in a container that has the host's user
#   namespace. Known by name: a copy under another name, and busybox, are not
#   seen. The socket of a container runtime is reached by connect, which is not
#   judged.
# custom: {id: container-escape-tools, severity: high, attack: [T1611, T1610]}
deny contains {"message": message} if {
	input.file.name in data.escape_tools
	in_container
	not "own_user_ns" in input.process.traits
	not input.process.exe.name in data.exceptions.container_escape_tools.exe_name
	message := sprintf("%s ran %s in a container", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Mount run in a container
# description: |
#   mount is run in a container that has the host's user namespace. System
#   containers and storage drivers do so, therefore it only alerts.
# custom: {id: container-mount, severity: medium, attack: [T1611]}
alert contains {"message": message} if {
	input.file.name == "mount"
	in_container
	not "own_user_ns" in input.process.traits
	not input.process.exe.name in data.exceptions.container_mount.exe_name
	message := sprintf("%s ran %s in a container", [input.process.exe.path, input.file.path])
}
