package bailiff.ptrace_test

import data.bailiff.open.alert

act(exe, traits) := {
	"hook": "ptrace",
	"process": {"exe": {"path": exe}, "ancestors": []},
	"file": {"path": "/usr/sbin/sshd", "name": "sshd"},
	"open": {"flags": []},
	"target": {"pid": 700, "traits": traits},
}

fires(input_document) if {
	some finding in alert with input as input_document
	contains(finding.message, "attached to process 700, which runs /usr/sbin/sshd")
}

test_stranger if fires(act("/tmp/inject", ["other_user"]))

test_sibling if fires(act("/tmp/inject", []))

test_own_child if not fires(act("/usr/bin/make", ["descendant"]))

test_debugger if not fires(act("/usr/bin/gdb", ["other_user"]))

test_exception if {
	not fires(act("/opt/profiler", [])) with data.exceptions.process_injection.exe as ["/opt/profiler"]
}

test_exception_of_target if {
	not fires(act("/opt/profiler", [])) with data.exceptions.process_injection.file as ["/usr/sbin/sshd"]
}

test_open_is_not_attaching if not fires(object.union(act("/tmp/inject", []), {"hook": "open"}))
