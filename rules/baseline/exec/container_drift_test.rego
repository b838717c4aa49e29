package bailiff.exec_container_drift_test

import data.bailiff.exec.alert

act(traits, file_traits) := {
	"process": {
		"exe": {"path": "[0:57]/usr/bin/bash", "name": "bash"}, "ancestors": ["/usr/bin/containerd-shim-runc-v2"],
		"uid": 33, "loginuid": 4294967295, "traits": traits, "stdio": [],
	},
	"file": {"path": "[0:57]/opt/miner", "name": "miner", "traits": file_traits},
}

inside := ["container", "own_mnt_ns", "own_pid_ns"]

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

test_written_since if fires(act(inside, ["overlay_upper"]))

test_of_the_image if not fires(act(inside, []))

test_no_container if not fires(act(["own_mnt_ns"], ["overlay_upper"]))

test_building_an_image if not fires(object.union(act(inside, ["overlay_upper"]), {"process": {"ancestors": ["/usr/bin/buildkitd"]}}))

test_exception_file if {
	count(alert) == 0 with input as act(inside, ["overlay_upper"])
		with data.exceptions.container_drift.file_name as ["miner"]
}

test_exception_exe if {
	count(alert) == 0 with input as act(inside, ["overlay_upper"])
		with data.exceptions.container_drift.exe_name as ["bash"]
}
