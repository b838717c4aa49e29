package packs_lockdown_test

import data.bailiff.exec

run(path, exe, above, where) := {"process": {"exe": {"path": exe}, "ancestors": above, "traits": where}, "file": {"path": path}}

host := []

shipped := {"/usr/bin/id": "coreutils", "/usr/bin/dash": "dash"}

test_not_shipped if count(exec.deny) == 1 with input as run("/tmp/x", "/usr/bin/dash", [], host) with data.packs.lockdown.programs as shipped

test_shipped if count(exec.deny) == 0 with input as run("/usr/bin/id", "/usr/bin/dash", [], host) with data.packs.lockdown.programs as shipped

test_container if count(exec.deny) == 0 with input as run("/tmp/x", "/usr/bin/dash", [], ["container"]) with data.packs.lockdown.programs as shipped

test_directory if {
	count(exec.deny) == 0 with input as run("/opt/app/bin/x", "/usr/bin/dash", [], host)
		with data.packs.lockdown.programs as shipped
		with data.packs.lockdown.directories as ["/opt/app/"]
}

test_file_excepted if {
	count(exec.deny) == 0 with input as run("/srv/x", "/usr/bin/dash", [], host)
		with data.packs.lockdown.programs as shipped
		with data.packs.lockdown.exceptions.file as ["/srv/x"]
}

test_maintainer_script if {
	count(exec.deny) == 0 with input as run("/var/lib/dpkg/info/x.postinst", "/usr/bin/dpkg", ["/usr/bin/apt-get"], host)
		with data.packs.lockdown.programs as shipped
		with data.packs.lockdown.exceptions.below as ["/usr/bin/dpkg"]
}
