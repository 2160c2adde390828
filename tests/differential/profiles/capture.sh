#!/bin/bash
# capture.sh DIR: lets podman, containerd and dockerd each start a container
# and keeps the linux.seccomp that they put into its bundle, as
# DIR/{podman,containerd,docker}.json. Needs root and the three programs
# (dockerd may lie anywhere in PATH; Debian's docker.io has it), busybox and jq.
#
# Everything lives in a directory of its own and in private mount and network
# namespaces; the cgroups that the engines make and leave are removed at the end
# if they are empty and were not there before.
set -euo pipefail
[ $# = 1 ] || { echo "usage: capture.sh DIRECTORY" >&2; exit 2; }
mkdir -p "$1"
out=$(realpath "$1")
if [ -z "${CAPTURE_INSIDE:-}" ]; then
    CAPTURE_INSIDE=1 exec unshare --mount --net --propagation private "$0" "$out"
fi
ip link set lo up
work=$(mktemp -d)
engine=
groups=(docker default libpod_parent/conmon libpod_parent)
fresh=()
for group in "${groups[@]}"; do
    for dir in /sys/fs/cgroup/*/; do
        [ -d "$dir$group" ] || fresh+=("$dir$group")
    done
done
clean() {
    [ -z "$engine" ] || kill "$engine"
    wait
    for dir in "${fresh[@]}"; do rmdir "$dir" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean EXIT

# The runtime that the engines are given: runc, after a copy of the configuration.
for engine_name in podman containerd docker; do
    cat >"$work/$engine_name" <<RUNTIME
#!/bin/bash
last=
for word in "\$@"; do
    case \$last in --bundle | -b) jq .linux.seccomp "\$word/config.json" >"$out/$engine_name.json" ;; esac
    last=\$word
done
exec runc "\$@"
RUNTIME
    chmod +x "$work/$engine_name"
done
mkdir -p "$work/image/bin"
cp "$(command -v busybox)" "$work/image/bin/"
ln -s busybox "$work/image/bin/true"
tar -C "$work/image" -cf "$work/image.tar" .

wait_for() {
    for _ in $(seq 100); do
        [ ! -S "$1" ] || return 0
        sleep 0.1
    done
    echo "capture.sh: no socket $1" >&2
    exit 1
}

podman=(podman --root "$work/podman-root" --runroot "$work/podman-run" --cgroup-manager=cgroupfs
    --storage-driver vfs --events-backend file)
"${podman[@]}" import "$work/image.tar" capture
"${podman[@]}" save --format docker-archive -o "$work/archive.tar" capture
"${podman[@]}" --runtime "$work/podman" run --network none --rm \
    --ulimit nofile=1024:4096 --ulimit nproc=1000:1000 capture /bin/true

cat >"$work/containerd.toml" <<CONFIG
version = 2
root = "$work/containerd-root"
state = "$work/containerd-run"
[grpc]
address = "$work/containerd.sock"
CONFIG
containerd -c "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
engine=$!
wait_for "$work/containerd.sock"
ctr=(ctr -a "$work/containerd.sock")
"${ctr[@]}" images import --snapshotter native "$work/archive.tar"
"${ctr[@]}" run --snapshotter native --seccomp --rm --runc-binary "$work/containerd" \
    "$("${ctr[@]}" images ls -q)" capture /bin/true

dockerd --data-root "$work/docker-root" --exec-root "$work/docker-run" -H "unix://$work/docker.sock" \
    --pidfile "$work/docker.pid" --bridge none --iptables=false --ip-masq=false --storage-driver vfs \
    --containerd "$work/containerd.sock" --add-runtime "capture=$work/docker" >"$work/docker.log" 2>&1 &
dockerd=$!
wait_for "$work/docker.sock"
docker=(docker -H "unix://$work/docker.sock")
"${docker[@]}" import "$work/image.tar" capture:latest
"${docker[@]}" run --runtime capture --network none --rm capture /bin/true
"${docker[@]}" version --format '{{.Server.Version}}'
kill "$dockerd"
wait "$dockerd" || true
