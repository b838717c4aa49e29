#!/bin/sh
# Installs what the guests and the receivers of events need, when that can be
# done without asking: as root on a Debian. Otherwise it says what is missing; the tests then skip by name.
set -u

"$(dirname "$0")/peers.sh" || echo "setup.sh: what sends to an OpenTelemetry Collector will be skipped" >&2

missing=
[ -e /usr/bin/qemu-system-x86_64 ] || missing="$missing qemu-system-x86"
[ -e /usr/bin/busybox ] || [ -e /bin/busybox ] || missing="$missing busybox-static"
[ -x /usr/sbin/mkfs.ext4 ] || missing="$missing e2fsprogs"
command -v xz >/dev/null || missing="$missing xz-utils"
command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
lists=$(find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | head -n 1)
command -v rsyslogd >/dev/null || [ -x /usr/sbin/rsyslogd ] || missing="$missing rsyslog"
[ -e /usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so ] || missing="$missing rsyslog-gnutls"
/usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null || missing="$missing python3-grpcio python3-protobuf"

if ! command -v apt-get >/dev/null || [ "$(uname -m)" != x86_64 ]; then
	[ -z "$missing" ] || echo "setup.sh: what needs these will be skipped:$missing" >&2
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	[ -z "$missing" ] || echo "setup.sh: what needs these will be skipped: sudo apt-get install$missing" >&2
	exit 0
fi
# The guest kernels are found in the package lists too.
if [ -z "$lists" ]; then
	apt-get -q update || echo "setup.sh: no package lists; what needs them will be skipped" >&2
fi
if [ -n "$missing" ]; then
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing ||
		echo "setup.sh: what needs these will be skipped; could not install:$missing" >&2
fi
