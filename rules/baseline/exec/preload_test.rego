package bailiff.exec_preload_test

import data.bailiff.exec.alert

act(path, env) := {
	"process": {"exe": {"path": "/usr/bin/bash"}, "ancestors": [], "uid": 0, "loginuid": 0, "ns": {"pid": 4026531836, "user": 4026531837}},
	"file": {"path": path, "name": "x", "traits": []},
	"env": env,
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_preload if fires(act("/usr/sbin/sshd", {"LD_PRELOAD": "/tmp/x.so"}))

test_second_entry if fires(act("/usr/sbin/nginx", {"LD_LIBRARY_PATH": "/usr/lib:/home/u"}))

test_system_library if not fires(act("/usr/sbin/sshd", {"LD_PRELOAD": "/usr/lib/libjemalloc.so"}))

test_no_daemon if not fires(act("/usr/bin/ls", {"LD_PRELOAD": "/tmp/x.so"}))

test_no_environment if not fires(act("/usr/sbin/sshd", {}))

test_exception if {
	count(alert) == 0 with input as act("/usr/sbin/sshd", {"LD_PRELOAD": "/tmp/x.so"})
		with data.exceptions.preload_env.exe as ["/usr/bin/bash"]
}
