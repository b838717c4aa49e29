package bailiff.open

# METADATA
# title: Dynamic loader configuration opened for writing
# description: |
#   ld.so.preload, ld.so.conf and the cache decide which libraries every program
#   loads. ldconfig, package managers and configuration management may write
#   there; an administrator's editor may not, unless it is an exception. The
#   loader itself is covered by system-binary-tamper.
# custom: {id: loader-tamper, severity: critical, attack: [T1574.006]}
deny contains {"message": message} if {
	for_writing
	loader_file
	not below_manager
	not input.process.exe.path in data.exceptions.loader_tamper.exe
	not input.file.path in data.exceptions.loader_tamper.file
	message := sprintf("%s opened %s for writing", [input.process.exe.path, input.file.path])
}

loader_file if input.file.path in data.loader_files

loader_file if startswith(input.file.path, "/etc/ld.so.conf.d/")
