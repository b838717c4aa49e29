package bailiff.open

# METADATA
# title: Cloud or cluster credentials opened by an unlisted program
# description: |
#   Credentials of cloud tools, kubeconfigs, docker logins and git passwords are
#   opened by a program that is not in data.cloud_tools; service account tokens
#   by something below a web server. Tools that are Python scripts run as
#   python: add yours. In homes other than root's only files with telling names
#   are known (.kube/config is not). Tokens seen through a container's own
#   mounts are found if the runtime keeps them below data.cloud_credentials.token_directories.
# custom: {id: cloud-credential-read, severity: high, attack: [T1552.001, T1528]}
alert contains {"message": message} if {
	cloud_credential
	not input.process.exe.path in data.cloud_tools
	not input.process.exe.path in data.exceptions.cloud_credential_read.exe
	not below_manager
	message := sprintf("%s opened %s", [input.process.exe.path, input.file.path])
}

cloud_credential if input.file.path in data.cloud_credentials.paths

cloud_credential if input.file.name in data.cloud_credentials.names

cloud_credential if {
	input.file.name in data.cloud_credentials.home_names
	some home in data.cloud_credentials.homes
	startswith(input.file.path, home)
}

cloud_credential if {
	input.file.name == "token"
	some dir in data.cloud_credentials.token_directories
	startswith(input.file.path, dir)
	below_web_server
}

below_web_server if input.process.exe.path in data.web_servers

below_web_server if {
	some above in input.process.ancestors
	above in data.web_servers
}
