package bailiff.exec

# METADATA
# title: Service runs a program from a world-writable directory
# description: |
#   A service account runs what anybody could have put there. An account is one
#   of a service if nobody logged in for it (loginuid is unset), or if it is
#   listed in data.service_uids. Root is not judged here: package scripts run
#   from /tmp as root.
# custom: {id: exec-world-writable, severity: high, attack: [T1105]}
alert contains {"message": message} if {
	writable_by_all
	service_account
	not input.process.exe.path in data.exceptions.exec_world_writable.exe
	not input.file.path in data.exceptions.exec_world_writable.file
	message := sprintf("uid %d ran %s", [input.process.uid, input.file.path])
}

writable_by_all if {
	some dir in ["/tmp/", "/var/tmp/", "/dev/shm/"]
	startswith(input.file.path, dir)
}

writable_by_all if "dir_world_writable" in input.file.traits

service_account if {
	input.process.uid >= 1
	input.process.loginuid == 4294967295
}

service_account if input.process.uid in data.service_uids
