#!/bin/bash
# run.sh [PART...]: the trials that need a whole machine: a Debian under systemd, which has all controllers of
# its kernel, emulated by qemu (no hardware acceleration is needed). A boot for each cgroup layout; in
# each all trials whose name has one of the parts. As root, since the image is made by root.
#
#   run.sh shell [LAYOUT]   a shell in it instead, on this terminal (power it off by `poweroff`)
#
# RICHRUN     the program (default: the release build)
# VM_LAYOUTS  which layouts (default: v2 hybrid)
# VM_OPTIONAL where the machine cannot be made or does not reach its first trial, that is counted as ignored
# VM_BOUND    seconds after which a boot is given up (2400)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
here=integration/vm
release=${CARGO_TARGET_DIR:-target}/$(rustc -vV | sed -n 's/^host: //p')/release
program=${RICHRUN:-$release/richrun}
bound=${VM_BOUND:-2400}
work=build/vm/run
fail() { echo "vm: $*" >&2; exit 1; }

[ -x "$program" ] || fail "$program is missing: run 'make build'"
# missing REASON: there is no machine for the trials.
missing() {
    [ -n "${VM_OPTIONAL:-}" ] || fail "$1"
    echo "test [$1] vm::boot ... ignored"
    printf '\ntest result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n'
    exit 0
}
command -v qemu-system-x86_64 >/dev/null || missing "qemu is missing: run 'integration/peers.sh vm'"
image=$($here/image.sh) || missing 'the image of the virtual machine could not be made'
rm -rf "$work"
mkdir -p "$work/disk/rootfs"

# The second disk.
cp -r $here/trials/. "$work/disk/"
cp "$program" "$(dirname "$program")/rich-init" integration/setup/podman/50-richrun.conf integration/setup/docker/daemon.json "$work/disk/"
strip "$work/disk/richrun" "$work/disk/rich-init" 2>/dev/null || true
(cd "$work/disk/rootfs" && mkdir -p bin dev etc proc sys tmp run && cp "$(command -v busybox)" bin/busybox &&
    for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "bin/$name"; done &&
    echo 'root:x:0:0:root:/:/bin/sh' >etc/passwd && echo 'root:x:0:' >etc/group) || fail 'busybox is missing'
shell=
[ "${1:-}" != shell ] || { shell=yes; shift; }
: >"$work/disk/filter"
[ -n "$shell" ] || [ $# = 0 ] || printf '%s\n' "$@" >"$work/disk/filter"
tar -C "$work/disk" -cf "$work/disk.tar" .
truncate -s 64M "$work/scratch.img"

# boot LAYOUT ARGUMENT...: one machine, until it powers itself off. The image stays as it is.
boot() {
    local layout=$1 words kernel=$image/v2
    shift
    words='root=/dev/vda rw console=ttyS0 mitigations=off quiet loglevel=4 systemd.show_status=0 psi=1'
    if [ "$layout" = hybrid ]; then
        kernel=$image/v1
        words="$words systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
    fi
    [ -z "$shell" ] || words="$words trials=no"
    # The machine ends with this script.
    exec setpriv --pdeathsig TERM timeout --foreground --kill-after=10 "$bound" nice -n 2 qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 1 -m 1G -nodefaults -no-user-config -nographic -no-reboot \
        -kernel "$kernel/vmlinuz" -initrd "$kernel/initrd" -append "$words" \
        -drive "file=$image/disk.img,if=virtio,format=raw,snapshot=on" \
        -drive "file=$work/disk.tar,if=virtio,format=raw,readonly=on" \
        -drive "file=$work/scratch.img,if=virtio,format=raw,snapshot=on" "$@"
}

if [ -n "$shell" ]; then
    bound=0
    boot "${1:-v2}" -serial mon:stdio
fi

passed=0 failed=0 ignored=0 started=$SECONDS
for layout in ${VM_LAYOUTS:-v2 hybrid}; do
    told=$work/$layout.told
    echo "vm: $layout"
    # The first serial line is the console, the second one what the trials tell.
    boot "$layout" -serial "file:$work/$layout.console" -serial stdio </dev/null |
        sed -u 's/\r$//' | tee "$told"
    if ! read -r p f i < <(sed -n 's/^done: \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored.*/\1 \2 \3/p' "$told"); then
        p=0 f=1 i=0 verdict=FAILED
        # The emulation's fault, then, and not the runtime's, which has not run yet.
        if [ -n "${VM_OPTIONAL:-}" ] && [ ! -s "$told" ]; then f=0 i=1 verdict=ignored; fi
        echo "test vm::$layout::boot ... $verdict"
        echo "---- the console of $layout ----"
        tail -n 40 "$work/$layout.console"
    fi
    passed=$((passed + p)) failed=$((failed + f)) ignored=$((ignored + i))
done
result=ok
[ $failed = 0 ] || result=FAILED
printf '\ntest result: %s. %d passed; %d failed; %d ignored; 0 measured; 0 filtered out; finished in %d.00s\n' \
    $result $passed $failed $ignored $((SECONDS - started))
[ $failed = 0 ]
