package bailiff.open_tamper_test

import data.bailiff.open.deny

act(exe, ancestors, path, flags) := {
	"process": {"exe": {"path": exe}, "ancestors": ancestors},
	"file": {"path": path}, "open": {"flags": flags},
}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_write if fires(act("/usr/bin/cp", ["/usr/bin/bash"], "/usr/bin/ls", ["write", "truncate"]))

test_new_file if fires(act("/usr/bin/touch", [], "/usr/lib/x.so", ["create"]))

test_read if not fires(act("/usr/bin/cp", [], "/usr/bin/ls", ["read"]))

test_dpkg if not fires(act("/usr/bin/dpkg", ["/usr/bin/apt-get"], "/usr/bin/ls", ["write", "create"]))

test_maintainer_script if not fires(act("/usr/bin/cp", ["/usr/bin/dash", "/usr/bin/dpkg"], "/boot/initrd.img", ["write"]))

test_elsewhere if not fires(act("/usr/bin/cp", [], "/home/u/ls", ["write"]))
