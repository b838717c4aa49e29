package bailiff.open

# METADATA
# title: Processor registers opened for writing
# description: |
#   Miners switch off the processor's prefetchers by /dev/cpu/N/msr; whoever can
#   write there can write anything. Known by name and type of the device.
# custom: {id: miner-msr-write, severity: high, attack: [T1496]}
deny contains {"message": message} if {
	"write" in input.open.flags
	input.file.name == "msr"

	# 8192 of 61440 in the mode: a character device.
	bits.and(input.file.mode, 61440) == 8192
	not input.process.exe.path in data.packs.miners.msr_tools
	not input.process.exe.path in data.packs.miners.exceptions.exe
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Huge pages reserved by an unlisted program
# description: |
#   Miners reserve huge pages at their start. Databases have that done by sysctl.
# custom: {id: miner-hugepages, severity: medium, attack: [T1496]}
alert contains {"message": message} if {
	"write" in input.open.flags
	input.file.name == "nr_hugepages"

	# 40864 and 1650812274 are the magic of proc and sysfs.
	input.file.fs.magic in [40864, 1650812274]
	not input.process.exe.path in data.packs.miners.hugepage_tools
	not input.process.exe.path in data.packs.miners.exceptions.exe
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}
