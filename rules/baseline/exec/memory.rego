package bailiff.exec

# METADATA
# title: Program run from memory
# description: |
#   The program has no name on a disk: a memfd, a file in shared memory, or one
#   that was unlinked. Droppers run their payload so. Container runtimes clone
#   themselves into a memfd and are exempt by their own path.
# custom: {id: exec-memory-backed, severity: critical, attack: [T1620, T1059.004]}
deny contains {"message": message} if {
	from_memory
	not input.process.exe.path in data.exceptions.exec_memory_backed.exe
	message := sprintf("%s ran %s, which is only in memory", [input.process.exe.path, input.file.path])
}

from_memory if "memory_backed" in input.file.traits

from_memory if "unlinked" in input.file.traits

from_memory if {
	some dir in ["/dev/shm/", "/run/shm/"]
	startswith(input.file.path, dir)
}
