package bailiff.exec_shell_on_socket_test

import data.bailiff.exec.deny

act(exe, ancestors, name, stdio) := {
	"process": {"exe": {"path": exe}, "ancestors": ancestors, "uid": 33, "loginuid": 4294967295, "stdio": stdio, "traits": []},
	"file": {"path": concat("/", ["/usr/bin", name]), "name": name, "traits": []},
}

denied(input_document) if {
	count(deny) > 0 with input as input_document
}

network := ["stdin_socket", "stdout_socket", "stdin_network", "stdout_network"]

test_reverse_shell if denied(act("/usr/bin/bash", ["/usr/sbin/nginx"], "bash", network))

test_input_only if denied(act("/usr/bin/python3.11", [], "dash", ["stdin_socket", "stdin_network"]))

test_output_only if denied(act("/usr/bin/perl", [], "sh", ["stdout_socket", "stdout_network"]))

test_of_a_login if denied(act("/usr/bin/bash", ["/usr/sbin/sshd"], "bash", network))

test_below_systemd if denied(act("/usr/bin/bash", ["/usr/lib/systemd/systemd"], "bash", network))

test_unix_socket if not denied(act("/usr/lib/systemd/systemd-executor", [], "dash", ["stdout_socket", "stderr_socket"]))

test_errors_only if not denied(act("/usr/bin/bash", [], "dash", ["stderr_socket", "stderr_network"]))

test_no_socket if not denied(act("/usr/bin/bash", [], "bash", []))

test_no_shell if not denied(act("/usr/bin/bash", [], "rsync", network))

test_socket_unit if not denied(act("/usr/lib/systemd/systemd-executor", ["/usr/lib/systemd/systemd"], "bash", network))

test_inetd if not denied(act("/usr/sbin/xinetd", ["/usr/lib/systemd/systemd"], "bash", network))

test_below_inetd if not denied(act("/usr/bin/bash", ["/usr/sbin/inetd"], "perl", network))

test_exception_exe if {
	count(deny) == 0 with input as act("/opt/x", [], "dash", network)
		with data.exceptions.shell_on_socket.exe as ["/opt/x"]
}

test_exception_file if {
	count(deny) == 0 with input as act("/opt/x", [], "dash", network)
		with data.exceptions.shell_on_socket.file as ["/usr/bin/dash"]
}
