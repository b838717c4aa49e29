package bailiff.exec_container_test

import data.bailiff.exec.alert
import data.bailiff.exec.deny

act(exe, name, where, loginuid) := {
	"process": {
		"exe": {"path": exe, "name": exe}, "ancestors": [],
		"uid": 0, "loginuid": loginuid, "traits": where,
	},
	"file": {"path": concat("/", ["/usr/bin", name]), "name": name, "traits": []},
}

host := []

inside := ["container", "own_mnt_ns", "own_pid_ns"]

unset := 4294967295

denied(input_document) if {
	count(deny) > 0 with input as input_document
}

told(input_document) if {
	count(alert) > 0 with input as input_document
}

test_modprobe_in_container if denied(act("bash", "kmod", inside, unset))

test_modprobe_on_host if not denied(act("bash", "kmod", host, 0))

test_modprobe_by_a_person if told(act("bash", "kmod", host, 1000))

test_modprobe_by_a_service if not told(act("bash", "kmod", host, unset))

test_modprobe_exception if not denied(act("cilium-agent", "kmod", inside, unset))

test_modprobe_by_a_person_exception if {
	count(alert) == 0 with input as act("/opt/x", "kmod", host, 1000)
		with data.exceptions.module_load_host.exe as ["/opt/x"]
}

test_nsenter_in_container if denied(act("bash", "nsenter", inside, unset))

test_nsenter_on_host if not denied(act("bash", "nsenter", host, 0))

test_unshare_in_user_namespace if {
	count(deny) == 0 with input as act("bash", "unshare", ["container", "own_mnt_ns", "own_user_ns"], unset)
}

test_nsenter_exception if {
	count(deny) == 0 with input as act("kured", "nsenter", inside, unset)
		with data.exceptions.container_escape_tools.exe_name as ["kured"]
}

test_mount_in_container if told(act("bash", "mount", inside, unset))

test_mount_never_denied if not denied(act("bash", "mount", inside, unset))

test_mount_on_host if not told(act("bash", "mount", host, 0))

test_mount_exception if not told(act("kubelet", "mount", inside, unset))
