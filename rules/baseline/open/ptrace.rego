package bailiff.open

# METADATA
# title: Attached to a process of somebody else
# description: |
#   Who attaches to a process can read and write its memory and make it do
#   anything: ptrace, /proc/PID/mem, process_vm_readv and process_vm_writev,
#   pidfd_getfd. Debuggers do, and a program may attach to what it has started.
#   Reading /proc/PID/environ or maps is not attaching.
# custom: {id: process-injection, severity: high, attack: [T1055.008]}
alert contains {"message": message} if {
	input.hook == "ptrace"
	not "descendant" in input.target.traits
	not input.process.exe.path in data.debuggers
	not input.process.exe.path in data.exceptions.process_injection.exe
	not input.file.path in data.exceptions.process_injection.file
	message := sprintf("%s attached to process %d, which runs %s", [input.process.exe.path, input.target.pid, input.file.path])
}
