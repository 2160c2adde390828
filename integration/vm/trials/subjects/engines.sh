# Engines, which have systemd manage the groups, and a systemd in a container.

trials v2 systemd podman_update podman_default podman_user docker_update containerd_limits systemd_inside

IMAGE=localhost/box:latest

image() {
    [ -e /run/logs/image ] || { tar -C rootfs -c . | podman import - $IMAGE && touch /run/logs/image; }
}

# path CONTAINER: its group's folder. podman's own may lie below (`container`).
path() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(podman inspect --format '{{.State.Pid}}' "$1")/cgroup")"; }

podman_run() { podman "${OPTIONS[@]}" run --detach --network none --name "$NAME" "$@" $IMAGE sleep 100000; }

podman_limits() {
    podman_run --memory 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --pids-limit 40 --cpuset-cpus 0 \
        --device-read-bps /dev/vdc:2mb
    local dir unit
    dir=$(path "$NAME")
    unit=$(basename "$dir")
    # Where it delegates, the limits are the scope's.
    case $unit in container) dir=$(dirname "$dir") unit=$(basename "$dir") ;; esac
    case $unit in libpod-*.scope) ;; *) fail "no scope: $dir" ;; esac
    same memory.max 67108864 "$(cat "$dir/memory.max")"
    same memory.swap.max 33554432 "$(cat "$dir/memory.swap.max")"
    same memory.low 33554432 "$(cat "$dir/memory.low")"
    same cpu.max '50000 100000' "$(cat "$dir/cpu.max")"
    same pids.max 40 "$(cat "$dir/pids.max")"
    same cpuset.cpus 0 "$(cat "$dir/cpuset.cpus")"
    same io.max "$SCRATCH rbps=2097152 wbps=max riops=max wiops=max" "$(cat "$dir/io.max")"
    same MemoryMax 67108864 "$(systemctl show --property MemoryMax --value "$unit")"
    same TasksMax 40 "$(systemctl show --property TasksMax --value "$unit")"
    same CPUQuotaPerSecUSec 500ms "$(systemctl show --property CPUQuotaPerSecUSec --value "$unit")"
    same AllowedCPUs 0 "$(systemctl show --property AllowedCPUs --value "$unit")"
    podman stats --no-stream --format '{{.MemLimit}} {{.PIDs}}' "$NAME"
    LIMITED_DIR=$dir
}

podman_remove() { podman rm --force --time 0 "$NAME"; }

podman_update() {
    image
    OPTIONS=(--runtime "$RUNTIME" --cgroup-manager systemd)
    podman_limits
    podman update --memory 128m --cpus 0.25 --pids-limit 50 --cpu-shares 2048 "$NAME"
    same memory.max 134217728 "$(cat "$LIMITED_DIR/memory.max")"
    same cpu.max '25000 100000' "$(cat "$LIMITED_DIR/cpu.max")"
    same pids.max 50 "$(cat "$LIMITED_DIR/pids.max")"
    same cpu.weight 174 "$(cat "$LIMITED_DIR/cpu.weight")"
    systemctl daemon-reload
    same memory.max 134217728 "$(cat "$LIMITED_DIR/memory.max")"
    same pids.max 50 "$(cat "$LIMITED_DIR/pids.max")"
    podman_remove
}

# By the lines of the README.
podman_default() {
    mkdir -p /etc/containers/containers.conf.d
    cp 50-richrun.conf /etc/containers/containers.conf.d/
    image
    OPTIONS=()
    same runtime richrun "$(podman info --format '{{.Host.OCIRuntime.Name}}')"
    same manager systemd "$(podman info --format '{{.Host.CgroupManager}}')"
    podman_limits
    podman exec "$NAME" true
    same richrun "$NAME" "$(podman ps --format '{{.Names}}')"
    [ -d "/run/richrun/$(podman inspect --format '{{.Id}}' "$NAME")" ] || fail 'richrun does not know it'
    podman_remove
    rm /etc/containers/containers.conf.d/50-richrun.conf
}

# An ordinary user, whose own manager was given all controllers.
podman_user() {
    mkdir -p /run/keeper
    cp users.sh /run/keeper/
    install -D -m 644 50-richrun.conf /etc/containers/containers.conf.d/50-richrun.conf
    systemctl start user@1500.service
    tar -C rootfs -c . | runuser -u keeper -- env HOME=/home/keeper bash /run/keeper/users.sh "$NAME"
    systemctl stop user@1500.service
    rm -r /run/keeper /etc/containers/containers.conf.d/50-richrun.conf
}

# By the lines of the README. Its network is not what is looked at.
docker_up() {
    mkdir -p /etc/docker
    jq '. + {bridge: "none", iptables: false, "ip-masq": false}' daemon.json >/etc/docker/daemon.json
    systemctl start docker
    docker image inspect box:latest >/dev/null 2>&1 || tar -C rootfs -c . | docker import - box:latest
}

docker_update() {
    docker_up
    same runtime richrun "$(docker info --format '{{.DefaultRuntime}}')"
    docker run --detach --network none --name "$NAME" --memory 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 \
        --cpu-shares 512 --pids-limit 40 --cpuset-cpus 0 \
        --health-cmd 'test -e /tmp/ok' --health-interval 2s \
        box:latest sleep 100000
    local dir unit
    dir=$(sed -n 's/^0:://p' "/proc/$(docker inspect --format '{{.State.Pid}}' "$NAME")/cgroup")
    unit=$(basename "$dir")
    same unit "docker-$(docker inspect --format '{{.Id}}' "$NAME").scope" "$unit"
    dir=/sys/fs/cgroup$dir
    same memory.max 67108864 "$(cat "$dir/memory.max")"
    same memory.swap.max 33554432 "$(cat "$dir/memory.swap.max")"
    same cpu.max '50000 100000' "$(cat "$dir/cpu.max")"
    same cpu.weight 59 "$(cat "$dir/cpu.weight")"
    same pids.max 40 "$(cat "$dir/pids.max")"
    same cpuset.cpus 0 "$(cat "$dir/cpuset.cpus")"
    docker update --memory 128m --memory-swap 128m --cpus 0.25 --pids-limit 50 --cpu-shares 2048 "$NAME"
    same 'memory.max, changed' 134217728 "$(cat "$dir/memory.max")"
    same 'cpu.max, changed' '25000 100000' "$(cat "$dir/cpu.max")"
    same 'cpu.weight, changed' 174 "$(cat "$dir/cpu.weight")"
    same 'pids.max, changed' 50 "$(cat "$dir/pids.max")"
    same TasksMax 50 "$(systemctl show --property TasksMax --value "$unit")"
    ! docker update --memory 4k "$NAME" || fail 'a limit below what is possible was taken'
    systemctl daemon-reload
    same 'memory.max, after a reload' 134217728 "$(cat "$dir/memory.max")"
    same 'pids.max, after a reload' 50 "$(cat "$dir/pids.max")"
    has stats 128MiB "$(docker stats --no-stream --format '{{.MemUsage}}' "$NAME")"
    docker exec "$NAME" touch /tmp/ok
    is_healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$NAME")" = healthy ]; }
    until_it is_healthy
    docker rm --force "$NAME"
    systemctl stop docker.socket docker.service containerd.service
}

# By containerd's shim alone: limits, and its own reading of the group.
containerd_limits() {
    systemctl start containerd
    mkdir -p /run/box
    cp -a rootfs/. /run/box/
    ctr run --detach --runc-binary "$RUNTIME" --runc-systemd-cgroup --cgroup "system.slice:t:$NAME" --memory-limit 67108864 \
        --cpu-quota 50000 --cpu-period 100000 --rootfs /run/box "$NAME" /bin/sleep 100000
    PID=$(ctr task ls | awk -v name="$NAME" '$1 == name { print $2 }')
    knobs memory.max 67108864 cpu.max '50000 100000'
    shown MemoryMax 67108864
    has metrics 67108864 "$(ctr task metrics --format json "$NAME")"
    ctr task kill --signal KILL "$NAME"
    has_stopped() { ctr task ls | grep "$NAME.*STOPPED"; }
    until_it has_stopped
    ctr task rm "$NAME" || true
    ctr container rm "$NAME"
    systemctl stop containerd
    rm -r /run/box
}

# A systemd in a container manages what was delegated to it: its limits are the kernel's.
systemd_inside() {
    local root=/run/inside dir
    mkdir -p $root
    mountpoint -q $root || mount -t tmpfs inside $root
    mkdir -p $root/{upper,work,root}
    mount -t overlay overlay -o lowerdir=/,upperdir=$root/upper,workdir=$root/work $root/root
    rm -f $root/root/etc/systemd/system/multi-user.target.wants/{trials,shell}.service
    # The payload is a unit beside others, one of which has limits of its own.
    OPTIONS=(--rich --rich-mode systemd)
    create '{"memory": {"limit": 268435456}, "pids": {"limit": 200}}' '.root = {path: "'$root/root'"} | .process.args = ["sh", "-c",
        "systemd-run --unit=inner -p MemoryMax=32M -p CPUQuota=20% -p TasksMax=9 sleep 1000; while [ ! -e /run/go ]; do sleep 0.2; done; exit 42"]
        | (.process.capabilities.bounding, .process.capabilities.effective, .process.capabilities.permitted) =
            ("CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD SETFCAP SETGID SETPCAP SETUID SYS_CHROOT" | split(" ") | map("CAP_" + .))'
    rt start "$NAME"
    until_it rt exec "$NAME" systemctl is-active --quiet inner.service
    # PID 1 may have moved itself below.
    group memory
    DIR=${DIR%%"t-$NAME.scope"*}t-$NAME.scope
    dir=$(find "$DIR" -type d -name inner.service)
    same 'memory of the inner unit' 33554432 "$(cat "$dir/memory.max")"
    same 'time of the inner unit' '20000 100000' "$(cat "$dir/cpu.max")"
    same 'tasks of the inner unit' 9 "$(cat "$dir/pids.max")"
    has 'where it lies' "$NAME" "$dir"
    rt exec "$NAME" systemctl daemon-reload
    systemctl daemon-reload
    same 'memory after both reloads' 33554432 "$(cat "$dir/memory.max")"
    rt update --memory 300M "$NAME"
    rt exec "$NAME" touch /run/go
    until_it stopped
    rt delete "$NAME"
    umount $root/root $root
}
