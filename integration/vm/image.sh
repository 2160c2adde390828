#!/bin/bash
# image.sh: the disk, the kernels and their first roots of the virtual machine of `make test-vm`.
# Prints the folder that has them: disk.img, v2/{vmlinuz,initrd}, v1/{vmlinuz,initrd}. Made once, below build/vm,
# for each content of this file; a few minutes, as root, from the archive that apt itself uses.
#
# The disk is a Debian with systemd, podman, Docker, containerd, crun and runc, in which nothing starts that
# the trials do not need, and a user whose manager is given all controllers. The kernels are Debian's for virtual machines: its own, and one release older for the v1
# hierarchies, since the newer ones are built without v1's memory and cpuset. The first root is a
# busybox that loads the disk's driver: a distribution's own takes a minute to unpack here.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
suite=trixie
packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,podman,crun,runc,conmon,catatonit,netavark,nftables
packages=$packages,docker.io,docker-cli,containerd,uidmap,passwd,login,busybox-static,kmod,jq,procps,util-linux
kernel=linux-image-cloud-amd64
# What systemd would start and no trial looks at: each unit is a second of emulation.
masked='apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service
    podman.socket podman.service podman-auto-update.timer podman-restart.service podman-clean-transient.service
    systemd-timesyncd.service systemd-update-utmp.service systemd-random-seed.service
    systemd-pcrmachine.service systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-hwdb-update.service
    systemd-journal-catalog-update.service systemd-firstboot.service systemd-update-done.service systemd-vconsole-setup.service
    systemd-udev-settle.service systemd-rfkill.socket nftables.service getty.target getty-static.service
    modprobe@drm.service modprobe@efi_pstore.service modprobe@configfs.service sys-kernel-debug.mount sys-kernel-tracing.mount'

say() { printf 'vm: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

images=$here/build/vm
image=$images/image-$(sha256sum "$0" | cut -c 1-12)
mkdir -p "$images"
exec 9>"$images/lock"
flock 9
if [ -e "$image/disk.img" ]; then
    printf '%s\n' "$image"
    exit
fi
[ "$(id -u)" = 0 ] || fail 'making the image needs root'
for tool in mmdebstrap mke2fs xz; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install mmdebstrap e2fsprogs xz-utils"
done

say "making the image (some minutes): $image"
rm -rf "$images"/image-* "$images"/new
new=$images/new
root=$new/root
mirror=$("$here/integration/mirror.sh")
mkdir -p "$new"
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
    "$suite" "$root" "$mirror" >"$images/mmdebstrap.log" 2>&1 || {
    tail -n 5 "$images/mmdebstrap.log" >&2
    fail "mmdebstrap failed (log: $images/mmdebstrap.log)"
}

# kernel SUITE NAME: a release's kernel, and a first root for it, into NAME. It is unpacked and not
# installed: its package would make a first root of its own.
kernel() {
    local tree=$new/tree release modules first=$new/first number=100 module name
    mkdir -p "$new/$2"
    mmdebstrap --quiet --variant=extract --include="$kernel" "$1" "$tree" "$mirror" >"$images/mmdebstrap.log" 2>&1 || {
        tail -n 5 "$images/mmdebstrap.log" >&2
        fail "mmdebstrap failed (log: $images/mmdebstrap.log)"
    }
    modules=$(echo "$tree"/lib/modules/* "$tree"/usr/lib/modules/* | tr ' ' '\n' | grep -v '\*' | sed -n 1p)
    release=$(basename "$modules")
    cp "$tree/boot/vmlinuz-$release" "$new/$2/vmlinuz"
    # Drivers of devices that this machine does not have.
    rm -rf "$modules"/kernel/drivers/{gpu,media,infiniband,nvme,scsi,hv,xen,usb,iio,nvdimm,md,mtd,staging,target,vfio,video} \
        "$modules"/kernel/sound "$modules"/kernel/drivers/net/ethernet
    mkdir -p "$root/usr/lib/modules"
    cp -r "$modules" "$root/usr/lib/modules/"
    chroot "$root" depmod "$release"
    mkdir -p "$first"/{bin,dev,proc,sys,modules,root}
    cp "$root/usr/bin/busybox" "$first/bin/busybox"
    chroot "$root" modprobe --set-version "$release" --show-depends --all virtio_pci virtio_blk ext4 |
        sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >"$new/order"
    while read -r module; do
        name=$(basename "$module")
        case $name in
            *.xz) xz -dc "$root$module" >"$first/modules/$number-${name%.xz}" ;;
            *) cp "$root$module" "$first/modules/$number-$name" ;;
        esac
        number=$((number + 1))
    done <"$new/order"
    cat >"$first/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /bin/busybox insmod "$module"; done
while [ ! -b /dev/vda ]; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
INIT
    chmod 755 "$first/init"
    (cd "$first" && find . | ./bin/busybox cpio -o -H newc 2>/dev/null) >"$new/$2/initrd"
    rm -rf "$tree" "$first" "$new/order"
}
kernel trixie v2
kernel bookworm v1
rm -rf "${root:?}"/boot/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*

# What the machine is.
echo vm >"$root/etc/hostname"
echo '127.0.0.1 localhost vm' >"$root/etc/hosts"
: >"$root/etc/fstab"
echo 00000000000000000000000000000001 >"$root/etc/machine-id"
passwd --root "$root" --delete root >/dev/null
for unit in $masked; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# The trials start these.
for unit in docker.service docker.socket containerd.service; do
    rm -f "$root"/etc/systemd/system/*.wants/"$unit"
done
useradd --root "$root" --uid 1500 --user-group --create-home --shell /bin/bash keeper
usermod --root "$root" --add-subuids 100000-165535 --add-subgids 100000-165535 keeper
mkdir -p "$root/etc/systemd/system/user@.service.d"
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$root/etc/systemd/system/user@.service.d/delegate.conf"
mkdir -p "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system/multi-user.target.wants"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' >"$root/etc/systemd/journald.conf.d/vm.conf"
# The second disk is a tar of what is to be done; the second serial line is for what is told of it.
cat >"$root/etc/systemd/system/trials.service" <<'UNIT'
[Unit]
Description=The trials
After=basic.target dbus.socket
Requires=dbus.socket
ConditionKernelCommandLine=!trials=no
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
Delegate=no
Environment=HOME=/root
WorkingDirectory=/root
ExecStart=/bin/sh -c 'mkdir /root/trials && tar -xf /dev/vdb -C /root/trials && exec /root/trials/main.sh'
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
UNIT
ln -s ../trials.service "$root/etc/systemd/system/multi-user.target.wants/trials.service"
cat >"$root/etc/systemd/system/shell.service" <<'UNIT'
[Unit]
Description=A shell on the console
ConditionKernelCommandLine=trials=no

[Service]
ExecStart=/bin/sh -c 'mkdir -p /root/trials && tar -xf /dev/vdb -C /root/trials; exec /sbin/agetty --autologin root --noclear --keep-baud 115200 ttyS0 linux'
Restart=always
StandardInput=tty
StandardOutput=tty
TTYPath=/dev/ttyS0
UNIT
ln -s ../shell.service "$root/etc/systemd/system/multi-user.target.wants/shell.service"

mke2fs -q -t ext4 -L vm -m 0 -O ^has_journal -d "$root" "$new/disk.img" 3G
rm -rf "$root"
mv "$new" "$image"
say "the image is made: $(du -sh "$image" | cut -f 1)"
printf '%s\n' "$image"
