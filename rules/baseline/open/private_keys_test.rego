package bailiff.open_private_keys_test

import data.bailiff.open.alert
import data.bailiff.open.deny

act(exe, ancestors, path, name) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": ancestors},
	"file": {"path": path, "name": name, "mode": 33152, "fs": {"magic": 61267}},
	"open": {"flags": ["read"]},
}

denied(input_document) if {
	count(deny) > 0 with input as input_document
}

told(input_document) if {
	count(alert) > 0 with input as input_document
}

host_key(exe, ancestors) := act(exe, ancestors, "/etc/ssh/ssh_host_ed25519_key", "ssh_host_ed25519_key")

user_key(exe) := act(exe, [], "/home/u/.ssh/id_ed25519", "id_ed25519")

tls_key(exe) := act(exe, [], "/etc/ssl/private/site.pem", "site.pem")

test_host_key if denied(host_key("/usr/bin/cat", []))

test_host_key_public if not denied(act("/usr/bin/cat", [], "/etc/ssh/ssh_host_ed25519_key.pub", "ssh_host_ed25519_key.pub"))

test_host_key_sshd if not denied(host_key("/usr/sbin/sshd", []))

test_host_key_sshd_of_debian_13 if not denied(host_key("/usr/lib/openssh/sshd-session", ["/usr/sbin/sshd"]))

test_host_key_package if not denied(host_key("/usr/bin/chmod", ["/usr/bin/dpkg"]))

test_host_key_exception if {
	count(deny) == 0 with input as host_key("/usr/bin/restic", [])
		with data.exceptions.private_key_read.exe as ["/usr/bin/restic"]
}

test_user_key if told(user_key("/usr/bin/cat"))

test_user_key_never_denied if not denied(user_key("/usr/bin/cat"))

test_user_key_ssh if not told(user_key("/usr/bin/ssh"))

test_user_key_exception if {
	count(alert) == 0 with input as user_key("/opt/x") with data.exceptions.user_key_read.exe as ["/opt/x"]
}

test_tls_key if told(tls_key("/usr/bin/cat"))

test_tls_key_server if not told(tls_key("/usr/sbin/nginx"))

test_tls_key_listing if {
	count(alert) == 0 with input as object.union(tls_key("/usr/bin/ls"), {"open": {"flags": ["read", "directory"]}})
}

test_tls_key_exception if {
	count(alert) == 0 with input as tls_key("/opt/x") with data.exceptions.tls_key_read.exe as ["/opt/x"]
}
