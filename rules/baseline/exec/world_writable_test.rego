package bailiff.exec_world_writable_test

import data.bailiff.exec.alert

act(uid, loginuid, path, traits) := {
	"process": {"exe": {"path": "/usr/sbin/cron"}, "uid": uid, "loginuid": loginuid, "ancestors": []},
	"file": {"path": path, "name": "x", "traits": traits},
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_service_from_tmp if fires(act(33, 4294967295, "/tmp/x", []))

test_service_from_writable_directory if fires(act(33, 4294967295, "/srv/up/x", ["dir_world_writable"]))

test_listed_account if {
	count(alert) > 0 with input as act(5000, 1000, "/var/tmp/x", []) with data.service_uids as [5000]
}

test_person if not fires(act(1000, 1000, "/tmp/x", []))

test_root if not fires(act(0, 4294967295, "/tmp/x", []))

test_elsewhere if not fires(act(33, 4294967295, "/usr/bin/x", []))
