package bailiff.exec

# METADATA
# title: Unlisted set-id program run
# description: |
#   A set-user-id or set-group-id file is run that no package of data.setid_programs
#   ships, or one that lies in a directory that does not belong to root. Programs
#   in containers are not judged (there are too many copies of sudo), nor those in a
#   user namespace of their own, where the bits give nothing on the host.
# custom: {id: suid-unlisted, severity: critical, attack: [T1548.001]}
deny contains {"message": message} if {
	set_id
	not in_container
	not "own_user_ns" in input.process.traits
	misplaced
	not setid_directory
	not input.file.path in data.exceptions.suid_unlisted.file
	not below_manager
	message := sprintf("%s ran %s, which is set-id", [input.process.exe.path, input.file.path])
}

set_id if "setuid" in input.file.traits

set_id if "setgid" in input.file.traits

misplaced if not input.file.path in data.setid_programs

misplaced if input.file.dir.uid != 0

setid_directory if {
	some dir in data.exceptions.suid_unlisted.directories
	startswith(input.file.path, dir)
}
