package bailiff.open

# METADATA
# title: Kernel setting that runs a program opened for writing
# description: |
#   core_pattern, the path of modprobe, release_agent, uevent_helper and the
#   registration of binary formats make the kernel run a program as root outside
#   of any container; sysrq-trigger stops the machine. They are known by name
#   and filesystem, so in any mount of proc, sysfs or cgroup. sysctl and systemd
#   may write them.
# custom: {id: kernel-escape-file, severity: critical, attack: [T1611]}
deny contains {"message": message} if {
	for_writing
	kernel_file
	not input.process.exe.path in data.kernel_file_writers
	not input.process.exe.path in data.exceptions.kernel_escape_file.exe
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}

# The numbers are the magic of the filesystems: linux/magic.h.
kernel_file if {
	input.file.fs.magic == 40864
	input.file.name in data.kernel_files.proc
}

kernel_file if {
	input.file.fs.magic == 1650812274
	input.file.name in data.kernel_files.sysfs
}

kernel_file if {
	input.file.fs.magic == 2613483
	input.file.name in data.kernel_files.cgroup
}

kernel_file if {
	input.file.fs.magic == 1112100429
	input.file.name in data.kernel_files.binfmt
}
