package bailiff.exec

# METADATA
# title: Program in a container that is not from its image
# description: |
#   A container runs a program that was written, or changed, after its image: it
#   lies in the upper layer of the overlay. What builds images is excepted. Make it
#   a deny rule where containers are not changed while they run. Not seen: programs
#   on volumes and on a tmpfs, and images that are not on the kernel's overlay
#   (fuse-overlayfs, btrfs, zfs, block devices).
# custom: {id: container-drift, severity: high, attack: [T1105, T1525]}
alert contains {"message": message} if {
	"container" in input.process.traits
	"overlay_upper" in input.file.traits
	not input.file.name in data.exceptions.container_drift.file_name
	not input.process.exe.name in data.exceptions.container_drift.exe_name
	not builds_images
	message := sprintf("%s ran %s, which is not from the container's image", [input.process.exe.path, input.file.path])
}

builds_images if {
	some above in input.process.ancestors
	above in data.image_builders
}
