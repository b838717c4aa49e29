package packs_miners_test

import data.bailiff.exec

run(path, name, args) := {"process": {"exe": {"path": "/usr/bin/bash"}}, "file": {"path": path, "name": name}, "args": args}

test_miner_by_name if count(exec.deny) == 1 with input as run("/tmp/xmrig", "xmrig", [])

test_other_name if count(exec.deny) == 0 with input as run("/tmp/work", "work", [])

test_miner_excepted if {
	count(exec.deny) == 0 with input as run("/opt/pool/xmrig-proxy", "xmrig-proxy", [])
		with data.packs.miners.exceptions.file as ["/opt/pool/xmrig-proxy"]
}

test_pool_address if {
	count(exec.alert) == 1 with input as run("/tmp/work", "work", ["work", "-o", "stratum+tcp://pool.example:3333"])
}

test_pool_address_of_a_version if {
	count(exec.alert) == 1 with input as run("/tmp/work", "work", ["work", "-o=stratum2+ssl://pool.example:3333"])
}

test_pool_of_no_version if {
	count(exec.alert) == 0 with input as run("/tmp/work", "work", ["work", "stratum+x://pool.example"])
}

test_donate_option if count(exec.alert) == 1 with input as run("/home/u/w", "w", ["w", "--donate-level=1"])

test_system_program_is_not_asked if {
	count(exec.alert) == 0 with input as run("/usr/bin/curl", "curl", ["curl", "stratum+tcp://pool.example"])
}

test_other_arguments if count(exec.alert) == 0 with input as run("/tmp/work", "work", ["work", "tcp://db.example"])
