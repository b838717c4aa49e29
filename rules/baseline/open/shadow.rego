package bailiff.open

# METADATA
# title: Password hashes opened by an unlisted program
# description: |
#   Only the programs in data.password_readers, and what package managers run,
#   have business in the password files. The nightly copy that cp and cmp make
#   below run-parts is allowed by data. Backup programs need an exception. Reads by
#   the interpreters in the exceptions only alert: shadow-lookup.
# custom: {id: shadow-read, severity: critical, attack: [T1003.008]}
deny contains {"message": message} if {
	input.file.path in data.password_files
	not input.process.exe.path in data.password_readers
	not input.process.exe.path in data.exceptions.shadow_read.exe
	not below_package_manager
	not nightly_backup
	not lookup
	message := sprintf("%s opened %s", [input.process.exe.path, input.file.path])
}

nightly_backup if {
	input.process.exe.path in data.exceptions.shadow_read.backup.exe
	some above in input.process.ancestors
	above in data.exceptions.shadow_read.backup.below
}

# METADATA
# title: Password hashes opened by an interpreter
# description: |
#   Perl asks for the hash whenever root looks up an account (dpkg-reconfigure,
#   adduser), so a refusal would hit the innocent: reading is reported only.
#   Where no such scripts run, take perl out of the exceptions of shadow-read.
# custom: {id: shadow-lookup, severity: low, attack: [T1003.008]}
alert contains {"message": message} if {
	input.file.path in data.password_files
	lookup
	not below_package_manager
	message := sprintf("%s opened %s", [input.process.exe.path, input.file.path])
}

lookup if {
	input.process.exe.path in data.exceptions.shadow_read.lookup
	not for_writing
}
