package bailiff.open

# METADATA
# title: Something that starts by itself was written
# description: |
#   Jobs of cron and at, systemd units, boot scripts, profiles and udev rules
#   are opened for writing by something other than their own tools, package
#   managers and configuration management. Dot files of users are not covered.
#   Symbolic links count, and files that are moved into place.
# custom: {id: persistence-write, severity: medium, attack: [T1053.003, T1543.002, T1037.004]}
alert contains {"message": message} if {
	for_writing
	not input.hook == "unlink"
	starts_by_itself
	not below_manager
	not below_systemctl
	not input.process.exe.path in data.persistence_writers
	not input.process.exe.path in data.exceptions.persistence_write.exe
	not input.file.path in data.exceptions.persistence_write.file
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}

starts_by_itself if input.file.path in data.persistence_files

starts_by_itself if {
	some dir in data.persistence_directories
	startswith(input.file.path, dir)
}

# The editor of `systemctl edit`.
below_systemctl if "/usr/bin/systemctl" in input.process.ancestors
