# users.sh NAME: an ordinary user's podman with its defaults, under his own manager. Run by podman_user; the image
# is standard input.
set -euxo pipefail
export XDG_RUNTIME_DIR=/run/user/$UID
cd /home/keeper
name=$1
same() { [ "$2" = "$3" ] || { echo "$1: expected '$2', found '$3'" >&2; exit 1; }; }
same 'manager and runtime' 'systemd richrun' "$(podman info --format '{{.Host.CgroupManager}} {{.Host.OCIRuntime.Name}}')"
podman import - localhost/box:latest
podman run --detach --network none --name "$name" --memory 64m --memory-swap 96m --cpus 0.5 --pids-limit 40 --cpuset-cpus 0 \
    --cpu-shares 512 --device-read-bps /dev/vdc:2mb localhost/box:latest sleep 100000
group=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(podman inspect --format '{{.State.Pid}}' "$name")/cgroup")
# Where it delegates, the limits are the scope's.
case $group in */container) group=$(dirname "$group") ;; esac
case $group in
    */user@$UID.service/*/libpod-*.scope) ;;
    *) echo "no scope of the user's manager: $group" >&2 && exit 1 ;;
esac
unit=$(basename "$group")
knobs() {
    while [ $# -gt 0 ]; do
        same "$1" "$2" "$(cat "$group/$1")"
        shift 2
    done
}
knobs memory.max 67108864 memory.swap.max 33554432 cpu.max '50000 100000' cpu.weight 59 pids.max 40 cpuset.cpus 0 \
    io.max '254:32 rbps=2097152 wbps=max riops=max wiops=max'
same MemoryMax 67108864 "$(systemctl --user show --property MemoryMax --value "$unit")"
podman update --memory 128m --memory-swap 128m --cpus 0.25 --pids-limit 50 "$name"
knobs memory.max 134217728 cpu.max '25000 100000' pids.max 50
systemctl --user daemon-reload
knobs memory.max 134217728 cpu.max '25000 100000' pids.max 50
podman stats --no-stream --format '{{.MemUsage}}' "$name" | grep 134.2MB
podman exec "$name" true
podman rm --force --time 0 "$name"
