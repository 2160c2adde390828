# PID 1 of a sandbox. Arguments: view, work directory, the ordinary user.
# Everything mounted here is seen by the sandbox only; it ends, with all that
# runs in it, when its standard input does.
set -eu
view=$1 work=$2 user=$3
mount --make-rprivate /
case $view in
    v1) [ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified ;;
    v2)
        if [ -d /sys/fs/cgroup/unified ]; then
            mkdir "$work/unified"
            mount --bind /sys/fs/cgroup/unified "$work/unified"
            umount -l /sys/fs/cgroup
            mount --move "$work/unified" /sys/fs/cgroup
        fi
        ;;
esac
mount -t tmpfs -o mode=755 richrun-engines "$work/private"
for directory in /run /var/lib/containers /var/lib/cni /var/lib/containerd; do
    [ ! -d $directory ] || mount -t tmpfs -o mode=755 richrun-engines $directory
done
mount -t tmpfs -o mode=1777 richrun-engines /dev/shm
mkdir -p /run/lock "$work/private/root" "$work/private/user"
if id "$user" >/dev/null 2>&1; then
    mkdir -p "/run/user/$(id -u "$user")"
    chown "$user:" "$work/private/user" "/run/user/$(id -u "$user")"
    chmod 700 "/run/user/$(id -u "$user")"
fi
# slirp4netns opens it as the ordinary user; udev makes it so elsewhere.
if [ -e /dev/net/tun ]; then
    mknod -m 666 "$work/private/tun" c 10 200
    mount --bind "$work/private/tun" /dev/net/tun
fi
# crun gives the null device that a container has as a stream to its user.
mknod -m 666 "$work/private/null" c 1 3
mount --bind "$work/private/null" /dev/null
# Engines expect a shared root, as hosts have it.
mount --make-rshared /
ip link set lo up
echo ready
# The shell waits and so reaps every orphan of the sandbox.
cat >/dev/null
