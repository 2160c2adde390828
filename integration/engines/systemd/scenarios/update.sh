# Limits of a running container: taken by the group, by inspect, and again by a restart.
podman run -d --name "$NAME" --memory 200m --pids-limit 100 "$IMAGE" sh -c 'while :; do sleep 1; done'
group() { sed -n 's/^0:://p' "/proc/$(field "$NAME" .State.Pid)/cgroup"; }
knob() { cat "/sys/fs/cgroup$(group)/$1" 2>/dev/null || cat "/sys/fs/cgroup$(dirname "$(group)")/$1"; }
same "$(knob memory.max)" 209715200
podman update --memory 300m --cpus 0.5 --pids-limit 50 "$NAME"
same "$(podman exec "$NAME" true; knob memory.max)" 314572800
has "$(knob cpu.max)" 50000
same "$(knob pids.max)" 50
podman restart -t 0 "$NAME"
same "$(knob memory.max)" 314572800
