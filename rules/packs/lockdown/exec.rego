package bailiff.exec

# METADATA
# title: Program that no package ships
# description: |
#   Only what the machine's packages ship is run: a program or script that is not
#   in data.packs.lockdown.programs is denied. The list is made by
#   `bailiff pack lockdown --from dpkg` (or rpm) and has to be made anew after
#   packages were installed; what package managers run meanwhile is an exception
#   of the list. Scripts that are given to an interpreter as an argument, and
#   containers, are not judged. With the tracepoint backend a script is judged by
#   its interpreter.
# custom: {id: lockdown, severity: high, attack: [T1204, T1105]}
deny contains {"message": message} if {
	not data.packs.lockdown.programs[input.file.path]
	not "container" in input.process.traits
	not packs_lockdown_directory
	not input.file.path in data.packs.lockdown.exceptions.file
	not input.process.exe.path in data.packs.lockdown.exceptions.exe
	not packs_lockdown_below
	message := sprintf("%s ran %s, which no package ships", [input.process.exe.path, input.file.path])
}

packs_lockdown_directory if {
	some dir in data.packs.lockdown.directories
	startswith(input.file.path, dir)
}

packs_lockdown_below if input.process.exe.path in data.packs.lockdown.exceptions.below

packs_lockdown_below if {
	some above in input.process.ancestors
	above in data.packs.lockdown.exceptions.below
}
