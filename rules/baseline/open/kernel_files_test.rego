package bailiff.open_kernel_files_test

import data.bailiff.open.deny

act(exe, path, name, magic, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": []},
	"file": {"path": path, "name": name, "mode": 33188, "fs": {"magic": magic}},
	"open": {"flags": flags},
}

core_pattern(exe, flags) := act(exe, "/proc/sys/kernel/core_pattern", "core_pattern", 40864, flags)

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_core_pattern if fires(core_pattern("/usr/bin/bash", ["write"]))

test_other_mount if fires(act("/usr/bin/bash", "[0:60]/sys/kernel/core_pattern", "core_pattern", 40864, ["write"]))

test_release_agent if fires(act("/usr/bin/bash", "/tmp/cg/release_agent", "release_agent", 2613483, ["write"]))

test_uevent_helper if fires(act("/usr/bin/bash", "/sys/kernel/uevent_helper", "uevent_helper", 1650812274, ["write"]))

test_binfmt if fires(act("/usr/bin/bash", "/proc/sys/fs/binfmt_misc/register", "register", 1112100429, ["write"]))

test_read if not fires(core_pattern("/usr/bin/cat", ["read"]))

test_sysctl if not fires(core_pattern("/usr/sbin/sysctl", ["write"]))

test_same_name_on_disk if not fires(act("/usr/bin/bash", "/home/u/release_agent", "release_agent", 61267, ["write"]))

test_exception if {
	count(deny) == 0 with input as core_pattern("/opt/x", ["write"])
		with data.exceptions.kernel_escape_file.exe as ["/opt/x"]
}
