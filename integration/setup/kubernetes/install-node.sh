#!/bin/sh
# install-node.sh [--remove] FROM ROOT: richrun for the node whose file system is at ROOT, from
# the programs in FROM: /usr/local/bin, and as runtimes `richrun` and `richrun-rich` (not as
# the default) of containerd (1.x and 2.x) or CRI-O. It may run any number of times; --remove
# takes back what it did. What must restart afterwards is printed, a unit a line.
set -eu
remove=
[ "${1:-}" != --remove ] || { remove=yes; shift; }
[ $# = 2 ] || { echo "usage: install-node.sh [--remove] FROM ROOT" >&2; exit 2; }
from=$1 root=${2%/}
begin='# richrun: begin' end='# richrun: end'

# Other lines of a file than ours.
others() {
    sed "/^$begin\$/,/^$end\$/d" "$1"
}

# Written beside it and renamed: nobody reads half a file.
replace() {
    cat >"$1.richrun-new"
    if [ -e "$1" ] && cmp -s "$1" "$1.richrun-new"; then
        rm "$1.richrun-new"
        return 1
    fi
    [ ! -e "$1" ] || chmod --reference="$1" "$1.richrun-new"
    mv "$1.richrun-new" "$1"
}

program() {
    if [ -n "$remove" ]; then
        rm -f "$root/usr/local/bin/$1"
        return
    fi
    mkdir -p "$root/usr/local/bin"
    cp "$from/$1" "$root/usr/local/bin/$1.richrun-new"
    chmod 755 "$root/usr/local/bin/$1.richrun-new"
    mv "$root/usr/local/bin/$1.richrun-new" "$root/usr/local/bin/$1"
}

runtime_of_containerd() {
    cat <<END

[plugins."$1".containerd.runtimes.$2]
runtime_type = "io.containerd.runc.v2"
pod_annotations = ["io.richrun.*"]
container_annotations = ["io.richrun.*"]
[plugins."$1".containerd.runtimes.$2.options]
BinaryName = "/usr/local/bin/$2"
END
    # On a host where systemd manages control groups, a kubelet's pods live in its slices.
    [ ! -d "$root/run/systemd/system" ] || echo 'SystemdCgroup = true'
}

containerd() {
    file=$root/etc/containerd/config.toml
    [ -e "$root/usr/bin/containerd" ] || [ -e "$root/usr/local/bin/containerd" ] || [ -e "$file" ] || return 0
    [ -e "$file" ] || [ -z "$remove" ] || return 0
    mkdir -p "$root/etc/containerd"
    [ -e "$file" ] || echo 'version = 2' >"$file"
    plugin=io.containerd.grpc.v1.cri
    ! grep -Eq '^[[:space:]]*version[[:space:]]*=[[:space:]]*3' "$file" || plugin=io.containerd.cri.v1.runtime
    {
        others "$file"
        if [ -z "$remove" ]; then
            echo "$begin"
            runtime_of_containerd "$plugin" richrun
            runtime_of_containerd "$plugin" richrun-rich
            echo "$end"
        fi
    } | replace "$file" && echo containerd.service
}

crio() {
    directory=$root/etc/crio/crio.conf.d
    [ -d "$root/etc/crio" ] || return 0
    if [ -n "$remove" ]; then
        [ ! -e "$directory/50-richrun.conf" ] || { rm "$directory/50-richrun.conf"; echo crio.service; }
        return
    fi
    mkdir -p "$directory"
    for name in richrun richrun-rich; do
        printf '[crio.runtime.runtimes.%s]\nruntime_path = "/usr/local/bin/%s"\n' "$name" "$name"
        printf 'runtime_type = "oci"\nruntime_root = "/run/richrun"\nallowed_annotations = ["io.richrun."]\n\n'
    done | replace "$directory/50-richrun.conf" && echo crio.service
}

if [ -n "$remove" ]; then
    # First nobody asks for it any more.
    containerd || true
    crio || true
fi
for name in richrun rich-init; do program "$name"; done
if [ -n "$remove" ]; then
    rm -f "$root/usr/local/bin/richrun-rich"
else
    ln -sf richrun "$root/usr/local/bin/richrun-rich"
    containerd || true
    crio || true
fi
