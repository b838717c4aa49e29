package bailiff.open

# METADATA
# title: Raw memory opened
# description: |
#   The memory devices mem, kmem and port, the kernel's image in /proc/kcore,
#   and /proc/PID/mem for writing (one's own too) are for firmware tools and
#   debuggers. Devices are known by their name: one that was made under another
#   name with mknod is not recognised, the device number is not a field yet.
# custom: {id: raw-memory-device, severity: critical, attack: [T1003.007, T1055.009], hooks: [open]}
deny contains {"message": message} if {
	raw_memory
	not input.process.exe.path in data.memory_readers
	not input.process.exe.path in data.debuggers
	not input.process.exe.path in data.exceptions.raw_memory_device.exe
	message := sprintf("%s opened %s", [input.process.exe.path, input.file.path])
}

# 8192 of 61440 in the mode: a character device.
raw_memory if {
	input.file.name in ["mem", "kmem", "port"]
	bits.and(input.file.mode, 61440) == 8192
}

# 40864 is the magic of proc.
raw_memory if {
	input.file.name == "kcore"
	input.file.fs.magic == 40864
}

raw_memory if {
	input.file.name == "mem"
	input.file.fs.magic == 40864
	for_writing
}
