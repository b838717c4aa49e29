package bailiff.open

# METADATA
# title: Bailiff's files opened for writing
# description: |
#   Its program, unit, configuration, bundle and state are changed by itself,
#   package managers and configuration management only. Signals and ptrace on
#   the agent, tools that stop its service, and files that are renamed over or
#   removed are not seen. A bundle kept elsewhere has to be named in data.agent.
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

agent_file if input.file.path in data.agent.files

agent_file if {
	some dir in data.agent.directories
	startswith(input.file.path, dir)
}
