package bailiff.open_agent_test

import data.bailiff.open.deny

act(exe, path, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": []},
	"file": {"path": path, "name": "x", "mode": 33188, "fs": {"magic": 61267}},
	"open": {"flags": flags},
}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_config if fires(act("/usr/bin/bash", "/etc/bailiff/config.yaml", ["write", "truncate"]))

test_program if fires(act("/usr/bin/cp", "/usr/local/bin/bailiff", ["write"]))

test_read if not fires(act("/usr/bin/cat", "/etc/bailiff/config.yaml", ["read"]))

test_itself if not fires(act("/usr/bin/bailiff", "/var/lib/bailiff/x", ["write", "create"]))

test_package if not fires(act("/usr/bin/dpkg", "/usr/bin/bailiff", ["write"]))

test_exception if {
	count(deny) == 0 with input as act("/opt/x", "/etc/bailiff/rules/a.rego", ["write"])
		with data.exceptions.agent_tamper.exe as ["/opt/x"]
}

attach(exe, path) := object.union(act(exe, path, []), {"hook": "ptrace", "target": {"pid": 700, "traits": []}})

test_attach if fires(attach("/usr/bin/gdb", "/usr/bin/bailiff"))

test_attach_elsewhere if not fires(attach("/usr/bin/gdb", "/usr/sbin/nginx"))

test_attach_exception if {
	count(deny) == 0 with input as attach("/usr/bin/gdb", "/usr/bin/bailiff")
		with data.exceptions.agent_attach.exe as ["/usr/bin/gdb"]
}
