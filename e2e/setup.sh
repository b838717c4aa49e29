#!/bin/sh
# Installs what the guests need, when that can be done without asking: as root
# on a Debian. Otherwise it says what is missing; the tests then skip by name.
set -u

missing=
[ -e /usr/bin/qemu-system-x86_64 ] || missing="$missing qemu-system-x86"
[ -e /usr/bin/busybox ] || [ -e /bin/busybox ] || missing="$missing busybox-static"
lists=$(find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | head -n 1)

if ! command -v apt-get >/dev/null || [ "$(uname -m)" != x86_64 ]; then
	[ -z "$missing" ] || echo "setup.sh: guests will be skipped; they need:$missing" >&2
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	[ -z "$missing" ] || echo "setup.sh: guests will be skipped; for them: sudo apt-get install$missing" >&2
	exit 0
fi
# The guest kernels are found in the package lists too.
if [ -z "$lists" ]; then
	apt-get -q update || echo "setup.sh: no package lists; what needs them will be skipped" >&2
fi
if [ -n "$missing" ]; then
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing ||
		echo "setup.sh: guests will be skipped; could not install:$missing" >&2
fi
