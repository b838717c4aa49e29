package bailiff.exec_preload_test

import data.bailiff.exec.alert

act(path, env) := {
	"process": {"exe": {"path": "/usr/bin/bash"}, "ancestors": [], "uid": 0, "loginuid": 0, "traits": []},
	"file": {"path": path, "name": "x", "traits": []},
	"env": env,
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_preload if fires(act("/usr/sbin/sshd", {"LD_PRELOAD": "/tmp/x.so"}))

test_second_entry if fires(act("/usr/sbin/nginx", {"LD_LIBRARY_PATH": "/usr/lib:/home/u"}))

test_each_variable if {
	every name in ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"] {
		fires(act("/usr/sbin/sshd", {name: "/dev/shm/x.so"}))
		fires(act("/usr/sbin/sshd", {name: "/usr/lib/a.so:/dev/shm/x.so"}))
	}
}

test_third_entry_by_space if fires(act("/usr/sbin/sshd", {"LD_PRELOAD": "libc.so ./x.so"}))

test_inside_a_name if not fires(act("/usr/sbin/sshd", {"LD_PRELOAD": "/opt/home/x.so"}))

test_system_library if not fires(act("/usr/sbin/sshd", {"LD_PRELOAD": "/usr/lib/libjemalloc.so"}))

test_no_daemon if not fires(act("/usr/bin/ls", {"LD_PRELOAD": "/tmp/x.so"}))

test_no_environment if not fires(act("/usr/sbin/sshd", {}))

test_exception if {
	count(alert) == 0 with input as act("/usr/sbin/sshd", {"LD_PRELOAD": "/tmp/x.so"})
		with data.exceptions.preload_env.exe as ["/usr/bin/bash"]
}
