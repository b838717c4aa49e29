package bailiff.open_shadow_test

import data.bailiff.open.alert
import data.bailiff.open.deny

act(exe, ancestors, path) := {
	"process": {"exe": {"path": exe}, "ancestors": ancestors},
	"file": {"path": path}, "open": {"flags": ["read"]},
}

fires(input_document) if {
	count(deny) > 0 with input as input_document
}

test_cat if fires(act("/usr/bin/cat", ["/usr/bin/bash"], "/etc/shadow"))

test_backup if fires(act("/usr/bin/cat", [], "/etc/gshadow-"))

test_sshd if not fires(act("/usr/sbin/sshd", [], "/etc/shadow"))

test_package_script if not fires(act("/usr/bin/cp", ["/usr/bin/dash", "/usr/bin/dpkg"], "/etc/shadow"))

test_other_file if not fires(act("/usr/bin/cat", [], "/etc/passwd"))

test_exception if {
	count(deny) == 0 with input as act("/opt/scan", [], "/etc/shadow") with data.exceptions.shadow_read.exe as ["/opt/scan"]
}

test_nightly_backup if not fires(act("/usr/bin/cp", ["/usr/bin/dash", "/usr/bin/run-parts", "/usr/sbin/cron"], "/etc/shadow"))

test_copy_by_hand if fires(act("/usr/bin/cp", ["/usr/bin/bash"], "/etc/shadow"))

test_perl_reads if not fires(act("/usr/bin/perl", [], "/etc/shadow"))

test_perl_reads_is_told if {
	count(alert) == 1 with input as act("/usr/bin/perl", [], "/etc/shadow")
}

test_perl_writes if {
	count(deny) > 0 with input as object.union(act("/usr/bin/perl", [], "/etc/shadow"), {"open": {"flags": ["write"]}})
}

test_perl_without_exception if {
	count(deny) > 0 with input as act("/usr/bin/perl", [], "/etc/shadow") with data.exceptions.shadow_read.lookup as []
}
