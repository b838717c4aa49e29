package bailiff.fork_limit_test

import data.bailiff.fork.alert

act(n) := {"process": {"exe": {"path": "/usr/bin/bash"}, "cgroup": {"path": "/user.slice", "processes": n}}}

test_bomb if count(alert) == 1 with input as act(4000)

test_busy if count(alert) == 0 with input as act(3999)
