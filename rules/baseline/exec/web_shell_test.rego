package bailiff.exec_web_shell_test

import data.bailiff.exec.alert

act(exe, ancestors, name) := {
	"process": {"exe": {"path": exe}, "ancestors": ancestors, "uid": 33, "loginuid": 0},
	"file": {"path": concat("/", ["/usr/bin", name]), "name": name, "traits": []},
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_server_itself if fires(act("/usr/sbin/nginx", [], "dash"))

test_grandchild if fires(act("/usr/bin/env", ["/usr/sbin/apache2", "/usr/lib/systemd/systemd"], "bash"))

test_other_program if not fires(act("/usr/sbin/nginx", [], "gzip"))

test_shell_of_a_person if not fires(act("/usr/bin/login", ["/usr/lib/systemd/systemd"], "bash"))
