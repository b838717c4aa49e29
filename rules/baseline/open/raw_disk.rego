package bailiff.open

# METADATA
# title: Block device opened for writing
# description: |
#   Whoever writes to a disk goes around every permission of the files on it.
#   The tools for filesystems, partitions, volumes and virtual machines may. A
#   block device is known by its type, whatever its name. Storage drivers that
#   run in containers bring their own tools: they need exceptions. dd is not
#   listed on purpose.
# custom: {id: raw-disk-write, severity: critical, attack: [T1561, T1006], hooks: [open]}
deny contains {"message": message} if {
	for_writing

	# 24576 of 61440 in the mode: a block device.
	bits.and(input.file.mode, 61440) == 24576
	not input.process.exe.path in data.disk_tools
	not input.process.exe.path in data.exceptions.raw_disk_write.exe
	not below_package_manager
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}
