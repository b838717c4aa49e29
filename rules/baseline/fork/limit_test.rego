package bailiff.fork_limit_test

import data.bailiff.fork.deny

act(n) := {"process": {"exe": {"path": "/usr/bin/bash"}, "cgroup": {"processes": n}}}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_below if not fires(act(4095))

test_at_the_limit if fires(act(4096))

test_limit_is_data if {
	count(deny) > 0 with input as act(10) with data.limits.cgroup_processes as 10
}
