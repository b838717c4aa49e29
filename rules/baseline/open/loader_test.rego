package bailiff.open_loader_test

import data.bailiff.open.deny

act(exe, ancestors, path, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": ancestors},
	"file": {"path": path, "name": "x", "mode": 33188, "fs": {"magic": 61267}},
	"open": {"flags": flags},
}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_preload if fires(act("/usr/bin/dash", [], "/etc/ld.so.preload", ["write", "create"]))

test_directory if fires(act("/usr/bin/tee", [], "/etc/ld.so.conf.d/x.conf", ["write"]))

test_every_program_reads if not fires(act("/usr/bin/ls", [], "/etc/ld.so.preload", ["read"]))

test_ldconfig if not fires(act("/usr/sbin/ldconfig", ["/usr/bin/bash"], "/etc/ld.so.cache~", ["write", "create"]))

test_package if not fires(act("/usr/bin/dpkg", [], "/etc/ld.so.conf.d/libc.conf", ["write"]))

test_exception if {
	count(deny) == 0 with input as act("/usr/bin/tee", [], "/etc/ld.so.conf.d/x.conf", ["write"])
		with data.exceptions.loader_tamper.file as ["/etc/ld.so.conf.d/x.conf"]
}
