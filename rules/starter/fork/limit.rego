# METADATA
# scope: package
# schemas:
#   - input: schema.input
package bailiff.fork

# METADATA
# title: More processes in a cgroup than any service needs
# custom: {id: many-processes, severity: medium, attack: [T1499.001]}
alert contains {"message": message} if {
	input.process.cgroup.processes >= data.process_limit
	not input.process.exe.path in data.exceptions.many_processes.exe
	message := sprintf("%s has %d processes", [input.process.cgroup.path, input.process.cgroup.processes])
}
