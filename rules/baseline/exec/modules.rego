package bailiff.exec

# METADATA
# title: Kernel module tool run in a container
# description: |
#   kmod (insmod, modprobe) is run in a container. A program that makes the
#   system call itself is not seen, nor busybox, which is all of its tools. The
#   network agents of clusters are excepted by name: they load modules for all.
# custom: {id: module-load, severity: high, attack: [T1547.006]}
deny contains {"message": message} if {
	input.file.name in data.module_tools
	in_container
	not input.process.exe.name in data.exceptions.module_load.exe_name
	message := sprintf("%s ran %s in a container", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Kernel module tool run by a person
# description: |
#   kmod (insmod, modprobe) is run on the host in a login session. Services,
#   udev and the kernel itself load modules without being reported.
# custom: {id: module-load-host, severity: low, attack: [T1547.006]}
alert contains {"message": message} if {
	input.file.name in data.module_tools
	not in_container
	input.process.loginuid != 4294967295
	not input.process.exe.path in data.exceptions.module_load_host.exe
	not below_manager
	message := sprintf("%s ran %s", [input.process.exe.path, input.file.path])
}
