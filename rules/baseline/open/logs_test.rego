package bailiff.open_logs_test

import data.bailiff.open.alert
import data.bailiff.open.deny

act(exe, ancestors, path, name, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": ancestors},
	"file": {"path": path, "name": name, "mode": 33188, "fs": {"magic": 61267}},
	"open": {"flags": flags},
}

denied(input_document) if {
	count(deny) > 0 with input as input_document
}

told(input_document) if {
	count(alert) > 0 with input as input_document
}

audit_log(exe, flags) := act(exe, [], "/var/log/audit/audit.log", "audit.log", flags)

auth_log(exe, ancestors, flags) := act(exe, ancestors, "/var/log/auth.log", "auth.log", flags)

test_audit_log if denied(audit_log("/usr/bin/truncate", ["write"]))

test_audit_log_read if not denied(audit_log("/usr/bin/tail", ["read"]))

test_auditd if not denied(audit_log("/usr/sbin/auditd", ["write", "append"]))

test_journald if not denied(act("/usr/lib/systemd/systemd-journald", [], "/var/log/journal/m/system.journal", "system.journal", ["read", "write"]))

test_audit_log_exception if {
	count(deny) == 0 with input as audit_log("/opt/x", ["write"]) with data.exceptions.audit_log_wipe.exe as ["/opt/x"]
}

test_log if told(auth_log("/usr/bin/bash", [], ["write", "truncate"]))

test_log_append if not told(auth_log("/usr/bin/logger", [], ["write", "append"]))

test_logrotate if not told(auth_log("/usr/sbin/logrotate", [], ["write", "truncate"]))

test_below_logrotate if not told(auth_log("/usr/bin/cp", ["/usr/bin/dash", "/usr/sbin/logrotate"], ["write", "truncate"]))

test_history if told(act("/usr/bin/truncate", [], "/root/.bash_history", ".bash_history", ["write", "truncate"]))

test_history_of_a_shell if {
	count(alert) == 0 with input as {
		"process": {"exe": {"path": "/usr/bin/bash", "name": "bash"}, "ancestors": []},
		"file": {"path": "/root/.bash_history", "name": ".bash_history", "mode": 33152, "fs": {"magic": 61267}},
		"open": {"flags": ["write", "truncate"]},
	}
}

test_log_exception if {
	count(alert) == 0 with input as auth_log("/opt/x", [], ["write", "truncate"])
		with data.exceptions.log_and_history_wipe.exe as ["/opt/x"]
}

test_log_removed if told(object.union(auth_log("/usr/bin/rm", [], ["write"]), {"hook": "unlink"}))

test_log_moved if told(object.union(auth_log("/usr/bin/mv", [], ["write"]), {"hook": "rename"}))

test_log_written if not told(object.union(auth_log("/usr/bin/logger", [], ["write"]), {"hook": "open"}))

test_log_rotated if not told(object.union(auth_log("/usr/sbin/logrotate", [], ["write"]), {"hook": "rename"}))

history_changed(exe, hook) := object.union(act(exe, [], "/root/.bash_history", ".bash_history", ["write"]), {"hook": hook})

test_history_removed if told(history_changed("/usr/bin/rm", "unlink"))

test_history_moved if told(history_changed("/usr/bin/mv", "rename"))
