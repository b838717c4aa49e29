package bailiff.exec

# METADATA
# title: Package manager run in a container
# description: |
#   An image is made once and run as it is: software that is installed in a
#   running container is not in it. Containers that build images need an
#   exception: the name of their builder, or the id of their cgroup. An
#   interpreter that installs (python -m pip) is not seen.
# custom: {id: container-package-manager, severity: medium, attack: [T1105, T1610]}
deny contains {"message": message} if {
	input.file.name in data.packs.containers.package_managers
	packs_containers_judged
	message := sprintf("%s ran %s in a container", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Compiler run in a container
# description: |
#   Code is compiled where it is run, so that it need not be brought along.
# custom: {id: container-compiler, severity: medium, attack: [T1027.004]}
deny contains {"message": message} if {
	input.file.name in data.packs.containers.compilers
	packs_containers_judged
	message := sprintf("%s ran %s in a container", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Network tool run in a container
# description: |
#   Scanners, sniffers and tools that connect anything to anything, by name.
# custom: {id: container-network-tool, severity: medium, attack: [T1046, T1040]}
alert contains {"message": message} if {
	input.file.name in data.packs.containers.network_tools
	packs_containers_judged
	message := sprintf("%s ran %s in a container", [input.process.exe.path, input.file.path])
}

# METADATA
# title: Interactive shell in a container
# description: |
#   A shell with a terminal is started in a container: kubectl exec -it, docker
#   exec -it.
# custom: {id: container-interactive-shell, severity: low, attack: [T1609]}
alert contains {"message": message} if {
	input.file.name in data.packs.containers.shells
	input.process.tty != 0
	packs_containers_judged
	message := sprintf("%s ran %s in a container, with a terminal", [input.process.exe.path, input.file.path])
}

# In a container that has no exception.
packs_containers_judged if {
	"container" in input.process.traits
	not input.process.exe.name in data.packs.containers.exceptions.exe_name
	not input.file.name in data.packs.containers.exceptions.file_name
	not input.process.cgroup.id in data.packs.containers.exceptions.cgroups
}
