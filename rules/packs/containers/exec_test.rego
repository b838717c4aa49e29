package packs_containers_test

import data.bailiff.exec

run(name, where, tty) := {
	"process": {"exe": {"path": "/usr/bin/sh", "name": "sh"}, "traits": where, "tty": tty, "cgroup": {"id": 7}},
	"file": {"path": sprintf("/usr/bin/%s", [name]), "name": name},
}

host := []

inside := ["container", "own_mnt_ns", "own_pid_ns"]

test_package_manager if count(exec.deny) == 1 with input as run("apt-get", inside, 0)

test_package_manager_on_host if count(exec.deny) == 0 with input as run("apt-get", host, 0)

test_compiler if count(exec.deny) == 1 with input as run("cc1", inside, 0)

test_builder if {
	act := json.patch(run("cc1", inside, 0), [{"op": "replace", "path": "/process/exe/name", "value": "buildkitd"}])
	count(exec.deny) == 0 with input as act
}

test_cgroup_excepted if count(exec.deny) == 0 with input as run("cc1", inside, 0) with data.packs.containers.exceptions.cgroups as [7]

test_name_excepted if count(exec.deny) == 0 with input as run("make", inside, 0) with data.packs.containers.exceptions.file_name as ["make"]

test_network_tool if count(exec.alert) == 1 with input as run("nmap", inside, 0)

test_network_tool_on_host if count(exec.alert) == 0 with input as run("nmap", host, 0)

test_shell_with_terminal if count(exec.alert) == 1 with input as run("bash", inside, 34816)

test_shell_without_terminal if count(exec.alert) == 0 with input as run("bash", inside, 0)

test_other if count(exec.deny | exec.alert) == 0 with input as run("id", inside, 34816)
