# METADATA
# scope: package
# schemas:
#   - input: schema.input
package bailiff.exec

# METADATA
# title: Program run from a directory that everybody can write to
# description: |
#   What was downloaded or dropped by somebody who got in runs from there first.
#   Builds that do so need an exception.
# custom: {id: exec-from-scratch, severity: high, attack: [T1105]}
deny contains {"message": message} if {
	some dir in data.scratch_directories
	startswith(input.file.path, dir)
	not input.process.exe.path in data.exceptions.exec_from_scratch.exe
	not input.file.path in data.exceptions.exec_from_scratch.file
	message := sprintf("%s ran %s", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Program without a file run
# custom: {id: exec-without-file, severity: critical, attack: [T1620]}
deny contains {"message": message} if {
	"memory_backed" in input.file.traits
	message := sprintf("%s ran a program from memory", [input.process.exe.path])
}
