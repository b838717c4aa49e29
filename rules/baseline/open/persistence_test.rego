package bailiff.open_persistence_test

import data.bailiff.open.alert

act(exe, ancestors, path, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": ancestors},
	"file": {"path": path, "name": "x", "mode": 33188, "fs": {"magic": 61267}},
	"open": {"flags": flags},
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_cron if fires(act("/usr/bin/bash", [], "/etc/cron.d/x", ["write", "create"]))

test_unit if fires(act("/usr/bin/tee", [], "/etc/systemd/system/x.service", ["write"]))

test_profile if fires(act("/usr/bin/dash", [], "/etc/profile", ["append", "write"]))

test_read if not fires(act("/usr/bin/bash", [], "/etc/profile", ["read"]))

test_crontab if not fires(act("/usr/bin/crontab", ["/usr/bin/bash"], "/var/spool/cron/crontabs/tmp.x", ["write", "create"]))

test_systemctl_edit if not fires(act("/usr/bin/nano", ["/usr/bin/systemctl"], "/etc/systemd/system/x.d/.#o", ["write"]))

test_package if not fires(act("/usr/bin/dpkg", [], "/etc/cron.daily/x.dpkg-new", ["write"]))

test_exception if {
	count(alert) == 0 with input as act("/opt/x", [], "/etc/cron.d/x", ["write"])
		with data.exceptions.persistence_write.exe as ["/opt/x"]
}

test_symlink if fires(object.union(act("/usr/bin/ln", [], "/etc/systemd/system/x.service", ["write", "create"]), {"hook": "create"}))

test_removed if not fires(object.union(act("/usr/bin/rm", [], "/etc/cron.d/x", ["write"]), {"hook": "unlink"}))
