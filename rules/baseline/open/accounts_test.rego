package bailiff.open_accounts_test

import data.bailiff.open.deny

act(exe, ancestors, path, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": ancestors},
	"file": {"path": path, "name": "x", "mode": 33188, "fs": {"magic": 61267}},
	"open": {"flags": flags},
}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_write if fires(act("/usr/bin/dash", ["/usr/bin/bash"], "/etc/passwd", ["write", "append"]))

test_new_sudo_rule if fires(act("/usr/bin/tee", [], "/etc/sudoers.d/x", ["write", "create"]))

test_read if not fires(act("/usr/bin/cat", [], "/etc/passwd", ["read"]))

test_useradd if not fires(act("/usr/sbin/useradd", ["/usr/bin/bash"], "/etc/passwd", ["read", "write"]))

test_editor_below_visudo if not fires(act("/usr/bin/vim.basic", ["/usr/sbin/visudo"], "/etc/sudoers.d/x.tmp", ["write"]))

test_maintainer_script if not fires(act("/usr/bin/dash", ["/usr/bin/dpkg"], "/etc/sudoers.d/x", ["write"]))

test_puppet if not fires(act("/opt/puppetlabs/puppet/bin/ruby", [], "/etc/sudoers", ["write"]))

test_exception if {
	count(deny) == 0 with input as act("/opt/x", [], "/etc/group", ["write"])
		with data.exceptions.account_sudo_tamper.exe as ["/opt/x"]
}
