package bailiff.exec

# METADATA
# title: Service started with a library from a writable directory
# description: |
#   A daemon or login program is started with LD_PRELOAD, LD_AUDIT or
#   LD_LIBRARY_PATH pointing below a directory that anybody or a user can write.
#   The kernel reads the variables when the new program is in place.
# custom: {id: preload-env, severity: high, attack: [T1574.006]}
alert contains {"message": message} if {
	daemon
	some name in ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"]
	lists_writable(input.env[name])
	not input.process.exe.path in data.exceptions.preload_env.exe
	message := sprintf("%s was started with %s in a writable directory", [input.file.path, name])
}

daemon if input.file.path in data.daemons

daemon if input.file.path in data.web_servers

daemon if input.file.path in data.databases

writable_places := ["/tmp/", "/var/tmp/", "/dev/shm/", "/run/shm/", "/home/", "/run/user/", "."]

# The dynamic linker separates entries by colons, those of LD_PRELOAD by spaces too.
lists_writable(entries) if {
	some place in writable_places
	startswith(entries, place)
}

lists_writable(entries) if {
	some separator in [":", " "]
	some place in writable_places
	contains(entries, concat("", [separator, place]))
}
