package bailiff.exec_setid_test

import data.bailiff.exec.deny

act(path, traits, dir_uid, where) := {
	"process": {"exe": {"path": "/usr/bin/bash", "name": "bash"}, "ancestors": [], "traits": where},
	"file": {"path": path, "name": "x", "traits": traits, "dir": {"uid": dir_uid}},
}

host := []

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_unlisted if fires(act("/srv/x", ["setuid"], 0, host))

test_setgid if fires(act("/srv/x", ["setgid"], 0, host))

test_listed_in_foreign_directory if fires(act("/usr/bin/sudo", ["setuid"], 1000, host))

test_sudo if not fires(act("/usr/bin/sudo", ["setuid"], 0, host))

test_plain_program if not fires(act("/srv/x", [], 1000, host))

test_container if not fires(act("/usr/bin/su", ["setuid"], 1000, ["container", "own_mnt_ns", "own_pid_ns"]))

test_user_namespace if not fires(act("/srv/x", ["setuid"], 0, ["own_user_ns"]))

test_snap if not fires(act("/snap/core22/1/usr/bin/sudo", ["setuid"], 0, host))

test_exception if {
	count(deny) == 0 with input as act("/opt/x", ["setuid"], 0, host)
		with data.exceptions.suid_unlisted.file as ["/opt/x"]
}
