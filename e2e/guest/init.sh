#!/bin/busybox sh
# Process 1 of the guest: mounts what Bailiff needs, runs /run.sh with its
# output on the second serial port, and powers the machine off.
/bin/busybox mkdir -p /proc /sys /dev /tmp /etc /root /usr/bin /var/tmp
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /tmp
ip link set lo up
ulimit -n 65536
stty -F /dev/ttyS1 raw -echo
/bin/sh /run.sh >/dev/ttyS1 2>&1 </dev/null
echo "guest-exit $?" >/dev/ttyS1
# Closing the port waits until everything is out.
reboot -f
