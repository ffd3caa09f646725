#!/usr/bin/env bash
# Becomes the init of a throwaway machine: this one's files with a layer above them that takes every change, and systemd
# as process 1. Run in fresh mount, pid, cgroup, ipc and uts namespaces:  boot_machine.sh FOLDER PROJECT
# Nothing of the real machine is changed: /proc/sys and /sys are read-only, /dev and /run its own.
set -euo pipefail
folder=$1 project=$2

mount -t tmpfs tmpfs "$folder" # an overlay cannot be the upper layer of another one; a tmpfs always can
mkdir -p "$folder"/{changes,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/changes,workdir=$folder/work" "$folder/root"
cd "$folder/root"

mount -t proc proc proc
mount -o bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys -o ro
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev -o mode=755
mkdir -p dev/pts dev/shm
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
mount -t tmpfs tmpfs dev/shm -o mode=1777
ln -s pts/ptmx dev/ptmx
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir -p run/project run/changes old
mount --bind "$project" run/project
mount -o remount,bind,ro run/project
mount --bind "$folder/changes" run/changes # to see what an uninstallation leaves

rm -rf etc/systemd/system/*.wants # no service of the real machine starts here
ln -sf /lib/systemd/system/basic.target etc/systemd/system/default.target
pivot_root . old
umount -l old
rmdir old
mount --make-rshared / # as on a real machine; systemd hands out credentials by it
exec env -i container=throwaway PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --log-target=console --show-status=no
