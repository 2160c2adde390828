#!/bin/sh
# Makes a root file system, without a registry.
#
#   make-rootfs.sh [DIR]                        a small one (default: rootfs)
#   make-rootfs.sh --debian [DIR [PACKAGE...]]  a Debian, by mmdebstrap from apt's own mirror
#
# The small one is a static busybox and its names; where there is no busybox,
# this host's own shell and tools with the libraries they load. It needs no
# root, and no network. SUITE chooses Debian's release (default: stable).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tools='sh cat echo env false grep head hostname id kill ls mkdir ps pwd rm sed sleep stat touch true uname wc'

fail() { printf 'make-rootfs: %s\n' "$*" >&2; exit 1; }

# A program and the libraries it loads, at the same places below $root.
copy_program() {
    program=$1 target=$2
    cp -L "$program" "$root$target"
    ldd "$program" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' |
        while read -r library; do
            mkdir -p "$root$(dirname "$library")"
            [ -e "$root$library" ] || cp -L "$library" "$root$library"
        done
}

small() {
    mkdir -p "$root"
    [ ! -e "$root/bin/sh" ] || { echo "$root is there already"; exit 0; }
    for directory in bin dev etc proc root run sys tmp; do
        mkdir -p "$root/$directory"
    done
    chmod 1777 "$root/tmp"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    if busybox=$(command -v "${BUSYBOX:-busybox}"); then
        copy_program "$busybox" /bin/busybox
        "$busybox" --list | while read -r name; do
            [ "$name" = busybox ] || ln -sf busybox "$root/bin/$name"
        done
        echo "$root: busybox"
    else
        for name in $tools; do
            program=$(command -v "$name" || true)
            [ ! -x "$program" ] || copy_program "$program" "/bin/$name"
        done
        # Where commands are built into this shell, `command -v` gives no path.
        for name in $tools; do
            for place in /bin /usr/bin; do
                [ -e "$root/bin/$name" ] || [ ! -x "$place/$name" ] || copy_program "$place/$name" "/bin/$name"
            done
        done
        [ -x "$root/bin/sh" ] || fail "no busybox, and no shell that can be copied"
        echo "$root: this host's programs"
    fi
}

debian() {
    command -v mmdebstrap >/dev/null || fail "mmdebstrap is missing: apt-get install mmdebstrap"
    [ ! -e "$root/usr" ] || { echo "$root is there already"; exit 0; }
    include=
    for package in "$@"; do
        include="${include:+$include,}$package"
    done
    mkdir -p "$(dirname "$root")"
    # What this host's apt thinks of an archive that has not been renewed for a while holds here, too.
    valid=$(apt-config dump Acquire::Check-Valid-Until)
    mmdebstrap --quiet --variant=minbase ${valid:+"--aptopt=$valid"} ${include:+"--include=$include"} \
        "${SUITE:-stable}" "$root" "$("$here/../../integration/mirror.sh")"
    echo "$root: Debian ${SUITE:-stable}"
}

case ${1:-} in
    --debian)
        shift
        root=${1:-rootfs}
        [ $# = 0 ] || shift
        debian "$@"
        ;;
    -*) fail "unknown option $1" ;;
    *)
        root=${1:-rootfs}
        small
        ;;
esac
