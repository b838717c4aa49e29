package bailiff.open_secrets_test

import data.bailiff.open.alert

act(exe, path) := {"process": {"exe": {"path": exe}}, "file": {"path": path}, "open": {"flags": ["read"]}}

test_cat if count(alert) == 1 with input as act("/usr/bin/cat", "/etc/shadow")

test_sshd if count(alert) == 0 with input as act("/usr/sbin/sshd", "/etc/shadow")

test_other_file if count(alert) == 0 with input as act("/usr/bin/cat", "/etc/passwd")

test_exception if {
	count(alert) == 0 with input as act("/opt/backup", "/etc/shadow")
		with data.exceptions.secret_read.exe as ["/opt/backup"]
}
