package bailiff.open

# METADATA
# title: Audit log or journal opened for writing
# description: |
#   Only auditd, journald and their tools write, move or remove the audit log
#   and the journal.
# custom: {id: audit-log-wipe, severity: critical, attack: [T1070.002]}
deny contains {"message": message} if {
	for_writing
	some dir in data.audit_log_directories
	startswith(input.file.path, dir)
	not input.process.exe.path in data.audit_log_writers
	not input.process.exe.path in data.exceptions.audit_log_wipe.exe
	not input.file.path in data.exceptions.audit_log_wipe.file
	not below_package_manager
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Log or shell history emptied
# description: |
#   A well-known log below /var/log is truncated, moved or removed by something
#   other than logging and rotation, or a file with the name of a shell's history
#   by something other than a shell. A shell that empties its own history does
#   what shells do at each exit, so it is not reported. With the tracepoint
#   backend none of this is seen.
# custom: {id: log-and-history-wipe, severity: high, attack: [T1070.002, T1070.003]}
alert contains {"message": message} if {
	emptied
	log_or_history
	not input.process.exe.path in data.exceptions.log_and_history_wipe.exe
	not input.file.path in data.exceptions.log_and_history_wipe.file
	not below_manager
	message := sprintf("%s emptied, moved or removed %s", [input.process.exe.path, input.file.path])
}

emptied if "truncate" in input.open.flags

emptied if input.hook in {"unlink", "rename"}

log_or_history if {
	startswith(input.file.path, "/var/log/")
	input.file.name in data.log_names
	not input.process.exe.path in data.log_writers
	not "/usr/sbin/logrotate" in input.process.ancestors
}

log_or_history if {
	input.file.name in data.history_names
	not input.process.exe.name in data.history_writers
}
