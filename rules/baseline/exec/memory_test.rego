package bailiff.exec_memory_test

import data.bailiff.exec.deny

act(exe, path, traits) := {"process": {"exe": {"path": exe}}, "file": {"path": path, "traits": traits}}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_memfd if fires(act("/usr/bin/python3.11", "[0:1]/memfd:x", ["memory_backed", "unlinked"]))

test_shared_memory if fires(act("/usr/bin/bash", "/dev/shm/x", []))

test_unlinked if fires(act("/usr/bin/bash", "/home/u/x", ["unlinked"]))

test_runc_clones_itself if not fires(act("/usr/bin/runc", "[0:1]/memfd:runc_cloned:/proc/self/exe", ["memory_backed"]))

test_file_on_disk if not fires(act("/usr/bin/bash", "/usr/bin/ls", []))

test_message if {
	some d in deny with input as act("/usr/bin/bash", "/dev/shm/x", [])
	d.message == "/usr/bin/bash ran /dev/shm/x, which is only in memory"
}
