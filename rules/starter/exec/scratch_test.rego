package bailiff.exec_scratch_test

import data.bailiff.exec.deny

act(exe, path) := {"process": {"exe": {"path": exe}}, "file": {"path": path, "traits": []}}

test_from_tmp if count(deny) == 1 with input as act("/usr/bin/bash", "/tmp/x")

test_from_usr if count(deny) == 0 with input as act("/usr/bin/bash", "/usr/bin/id")

# A name that only begins like the directory's is another place.
test_from_tmpfiles if count(deny) == 0 with input as act("/usr/bin/bash", "/tmpfiles/x")

test_exception if {
	count(deny) == 0 with input as act("/usr/bin/make", "/tmp/conftest")
		with data.exceptions.exec_from_scratch.exe as ["/usr/bin/make"]
}

test_from_memory if {
	count(deny) == 1 with input as {
		"process": {"exe": {"path": "/usr/bin/python3"}},
		"file": {"path": "[0:1]/memfd:x", "traits": ["memory_backed", "unlinked"]},
	}
}
