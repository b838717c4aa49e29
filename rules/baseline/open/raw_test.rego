package bailiff.open_raw_test

import data.bailiff.open.deny

act(exe, path, name, mode, magic, flags) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": []},
	"file": {"path": path, "name": name, "mode": mode, "fs": {"magic": magic}},
	"open": {"flags": flags},
}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

disk(exe, flags) := act(exe, "/dev/sda", "sda", 25008, 16914836, flags)

test_dev_mem if fires(act("/usr/bin/dd", "/dev/mem", "mem", 8608, 16914836, ["read"]))

test_kcore if fires(act("/usr/bin/cat", "/proc/kcore", "kcore", 33024, 40864, ["read"]))

test_process_memory if fires(act("/opt/inject", "/proc/7/mem", "mem", 33152, 40864, ["write"]))

test_process_memory_read if not fires(act("/usr/bin/cat", "/proc/7/mem", "mem", 33152, 40864, ["read"]))

test_debugger if not fires(act("/usr/bin/gdb", "/proc/7/mem", "mem", 33152, 40864, ["read", "write"]))

test_dmidecode if not fires(act("/usr/sbin/dmidecode", "/dev/mem", "mem", 8608, 16914836, ["read"]))

test_file_of_that_name if not fires(act("/usr/bin/cp", "/home/u/mem", "mem", 33188, 61267, ["write"]))

test_raw_memory_exception if {
	count(deny) == 0 with input as act("/opt/x", "/dev/mem", "mem", 8608, 16914836, ["read"])
		with data.exceptions.raw_memory_device.exe as ["/opt/x"]
}

test_disk if fires(disk("/usr/bin/dd", ["write"]))

test_disk_other_name if fires(act("/usr/bin/dd", "/tmp/x", "x", 25008, 61267, ["write"]))

test_disk_read if not fires(disk("/usr/bin/dd", ["read"]))

test_disk_mkfs if not fires(disk("/usr/sbin/mke2fs", ["read", "write"]))

test_disk_lvm if not fires(disk("/usr/sbin/lvm", ["read", "write"]))

test_disk_exception if {
	count(deny) == 0 with input as disk("/opt/x", ["write"]) with data.exceptions.raw_disk_write.exe as ["/opt/x"]
}
