package bailiff.fork

# METADATA
# title: Too many processes in one cgroup
# description: |
#   A fork bomb is stopped where it is: in its cgroup. The limit is
#   data.limits.cgroup_processes.
# custom: {id: fork-limit, severity: medium, attack: [T1499.001]}
deny contains {"message": message} if {
	input.process.cgroup.processes >= data.limits.cgroup_processes
	not input.process.exe.path in data.exceptions.fork_limit.exe
	message := sprintf("%s is the process too many: there are %d", [input.process.exe.path, input.process.cgroup.processes])
}
