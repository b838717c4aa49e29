package bailiff.open_cloud_credentials_test

import data.bailiff.open.alert

act(exe, ancestors, path, name) := {
	"process": {"exe": {"path": exe, "name": "x"}, "ancestors": ancestors},
	"file": {"path": path, "name": name, "mode": 33152, "fs": {"magic": 61267}},
	"open": {"flags": ["read"]},
}

fires(input_document) if {
	count(alert) > 0 with input as input_document
}

token := "/var/lib/kubelet/pods/1/volumes/kubernetes.io~projected/a/token"

test_root if fires(act("/usr/bin/cat", [], "/root/.kube/config", "config"))

test_home if fires(act("/usr/bin/cat", [], "/home/u/.aws/credentials", "credentials"))

test_telling_name if fires(act("/usr/bin/cat", [], "/srv/x/application_default_credentials.json", "application_default_credentials.json"))

test_token_below_web_server if fires(act("/usr/bin/bash", ["/usr/sbin/nginx"], token, "token"))

test_token_read_by_web_server if fires(act("/usr/sbin/nginx", [], token, "token"))

test_token_of_an_application if not fires(act("/app/server", [], token, "token"))

test_kubectl if not fires(act("/usr/bin/kubectl", [], "/root/.kube/config", "config"))

test_other_config if not fires(act("/usr/bin/cat", [], "/home/u/src/.git/config", "config"))

test_exception if {
	count(alert) == 0 with input as act("/opt/x", [], "/root/.aws/credentials", "credentials")
		with data.exceptions.cloud_credential_read.exe as ["/opt/x"]
}
