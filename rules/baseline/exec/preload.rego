package bailiff.exec

# METADATA
# title: Service started with a library from a writable directory
# description: |
#   A daemon or login program is started with LD_PRELOAD, LD_AUDIT or
#   LD_LIBRARY_PATH pointing below a directory that anybody or a user can write.
#   The kernel looks for the programs; the environment is read by OPA after the
#   start, so this never blocks. The agent must be told to report the variables:
#   events.env: [LD_PRELOAD, LD_AUDIT, LD_LIBRARY_PATH]. Otherwise the rule sees
#   none.
# custom: {id: preload-env, severity: high, attack: [T1574.006]}
alert contains {"message": message} if {
	daemon
	some name in ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"]
	regex.match(`(^|[: ])(/tmp/|/var/tmp/|/dev/shm/|/run/shm/|/home/|/run/user/|\.)`, input.env[name])
	not input.process.exe.path in data.exceptions.preload_env.exe
	message := sprintf("%s was started with %s in a writable directory", [input.file.path, name])
}

daemon if input.file.path in data.daemons

daemon if input.file.path in data.web_servers

daemon if input.file.path in data.databases
