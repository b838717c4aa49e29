package packs_miners_open_test

import data.bailiff.open

opened(exe, name, mode, magic, flags) := {
	"process": {"exe": {"path": exe}},
	"file": {"path": sprintf("/dev/cpu/0/%s", [name]), "name": name, "mode": mode, "fs": {"magic": magic}},
	"open": {"flags": flags},
}

test_msr if count(open.deny) == 1 with input as opened("/tmp/w", "msr", 8576, 0, ["write"])

test_msr_read if count(open.deny) == 0 with input as opened("/tmp/w", "msr", 8576, 0, ["read"])

test_msr_file if count(open.deny) == 0 with input as opened("/tmp/w", "msr", 33188, 0, ["write"])

test_msr_tool if count(open.deny) == 0 with input as opened("/usr/sbin/wrmsr", "msr", 8576, 0, ["write"])

test_hugepages if count(open.alert) == 1 with input as opened("/tmp/w", "nr_hugepages", 33188, 40864, ["write"])

test_hugepages_sysfs if count(open.alert) == 1 with input as opened("/tmp/w", "nr_hugepages", 33188, 1650812274, ["write"])

test_hugepages_sysctl if count(open.alert) == 0 with input as opened("/usr/sbin/sysctl", "nr_hugepages", 33188, 40864, ["write"])

test_hugepages_elsewhere if count(open.alert) == 0 with input as opened("/tmp/w", "nr_hugepages", 33188, 61267, ["write"])
