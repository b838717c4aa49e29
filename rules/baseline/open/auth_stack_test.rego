package bailiff.open_auth_stack_test

import data.bailiff.open.deny

act(exe, ancestors, path, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": ancestors},
	"file": {"path": path, "name": "x", "mode": 33188, "fs": {"magic": 61267}},
	"open": {"flags": flags},
}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_pam if fires(act("/usr/bin/dash", [], "/etc/pam.d/sshd", ["write"]))

test_sshd_config if fires(act("/usr/bin/nano", [], "/etc/ssh/sshd_config", ["write", "truncate"]))

test_read if not fires(act("/usr/sbin/sshd", [], "/etc/pam.d/sshd", ["read"]))

test_client_config if not fires(act("/usr/bin/nano", [], "/etc/ssh/ssh_config", ["write"]))

test_pam_auth_update if not fires(act("/usr/bin/perl", ["/usr/bin/dash", "/usr/bin/dpkg"], "/etc/pam.d/common-auth", ["write"]))

test_exception if {
	count(deny) == 0 with input as act("/usr/bin/nano", [], "/etc/pam.d/sshd", ["write"])
		with data.exceptions.auth_stack_tamper.exe as ["/usr/bin/nano"]
}
