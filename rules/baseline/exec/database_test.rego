package bailiff.exec_database_test

import data.bailiff.exec.alert

act(exe, path) := {
	"process": {"exe": {"path": exe}, "ancestors": [], "uid": 105, "loginuid": 0, "traits": []},
	"file": {"path": path, "name": "x", "traits": []},
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_program if fires(act("/usr/lib/postgresql/15/bin/postgres", "/usr/bin/id"))

test_itself if not fires(act("/usr/lib/postgresql/15/bin/postgres", "/usr/lib/postgresql/15/bin/postgres"))

test_other_parent if not fires(act("/usr/bin/bash", "/usr/bin/id"))

test_exception if {
	count(alert) == 0 with input as act("/usr/sbin/mariadbd", "/opt/archive")
		with data.exceptions.db_spawns.file as ["/opt/archive"]
}

test_initdb if {
	count(alert) == 0 with input as object.union(
		act("/usr/lib/postgresql/15/bin/postgres", "/usr/bin/dash"),
		{"process": {"ancestors": ["/usr/lib/postgresql/15/bin/initdb", "/usr/bin/dash"]}},
	)
}
