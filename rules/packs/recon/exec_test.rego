package packs_recon_test

import data.bailiff.exec

run(name, exe, above) := {
	"process": {"exe": {"path": exe}, "ancestors": above},
	"file": {"path": sprintf("/usr/bin/%s", [name]), "name": name},
}

test_directly if count(exec.alert) == 1 with input as run("id", "/usr/sbin/nginx", [])

test_below if count(exec.alert) == 1 with input as run("whoami", "/usr/bin/dash", ["/usr/sbin/php-fpm8.2", "/usr/lib/systemd/systemd"])

test_elsewhere if count(exec.alert) == 0 with input as run("whoami", "/usr/bin/dash", ["/usr/sbin/sshd"])

test_other_tool if count(exec.alert) == 0 with input as run("convert", "/usr/sbin/nginx", [])

test_excepted_file if count(exec.alert) == 0 with input as run("ps", "/usr/sbin/nginx", []) with data.packs.recon.exceptions.file as ["/usr/bin/ps"]

test_excepted_below if {
	count(exec.alert) == 0 with input as run("ps", "/usr/bin/dash", ["/usr/bin/pm2", "/usr/sbin/nginx"])
		with data.packs.recon.exceptions.below as ["/usr/bin/pm2"]
}
