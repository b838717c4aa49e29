package bailiff.open

# METADATA
# title: Bailiff's files opened for writing
# description: |
#   Its program, unit, configuration, bundle and state are changed by itself,
#   package managers and configuration management only. Signals to the agent, and
#   tools that stop its service, are not seen. A bundle kept elsewhere has to be
#   named in data.agent.
# custom: {id: agent-tamper, severity: critical, attack: [T1562.001]}
deny contains {"message": message} if {
	for_writing
	agent_file
	not input.process.exe.path in data.agent.programs
	not input.process.exe.path in data.exceptions.agent_tamper.exe
	not input.file.path in data.exceptions.agent_tamper.file
	not below_manager
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Attached to Bailiff
# description: |
#   Who attaches to the agent can read its memory and make it do anything. A
#   program of its path counts as the agent, wherever it runs. Debuggers are no
#   exception: list one while it is needed.
# custom: {id: agent-attach, severity: critical, attack: [T1562.001, T1055.008]}
deny contains {"message": message} if {
	input.hook == "ptrace"
	input.file.path in data.agent.programs
	not input.process.exe.path in data.exceptions.agent_attach.exe
	message := sprintf("%s attached to %s (process %d)", [input.process.exe.path, input.file.path, input.target.pid])
}

agent_file if input.file.path in data.agent.files

agent_file if {
	some dir in data.agent.directories
	startswith(input.file.path, dir)
}
