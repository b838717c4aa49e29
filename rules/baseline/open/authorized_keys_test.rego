package bailiff.open_authorized_keys_test

import data.bailiff.open.alert

act(exe, ancestors, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": ancestors},
	"file": {"path": "/home/u/.ssh/authorized_keys", "name": "authorized_keys", "mode": 33152, "fs": {"magic": 61267}},
	"open": {"flags": flags},
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_append if fires(act("/usr/bin/bash", ["/usr/sbin/sshd"], ["write", "append"]))

test_read if not fires(act("/usr/sbin/sshd", [], ["read"]))

test_puppet if not fires(act("/opt/puppetlabs/puppet/bin/ruby", [], ["write"]))

test_exception if {
	count(alert) == 0 with input as act("/opt/x", [], ["write"])
		with data.exceptions.authorized_keys_write.file as ["/home/u/.ssh/authorized_keys"]
}
