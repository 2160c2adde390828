# --systemd=always: what systemd as PID 1 needs is there; a group of its own to write to.
podman run -d --name "$NAME" --systemd=always "$IMAGE" sh -c 'while :; do sleep 1; done'
podman exec "$NAME" sh -c 'mount | grep -q "on /run type tmpfs" && mount | grep -q "on /tmp type tmpfs"'
same "$(podman exec "$NAME" sh -c 'tr "\0" "\n" </proc/1/environ | grep ^container=')" container=podman
podman exec "$NAME" sh -c 'mkdir /sys/fs/cgroup/init.scope && echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs'
# The top group has processes below it only: a process that joins goes where init is.
same "$(podman exec "$NAME" sh -c 'grep ^0:: /proc/1/cgroup')" 0::/init.scope
same "$(podman exec "$NAME" echo in)" in
same "$(field "$NAME" .Config.StopSignal)" SIGRTMIN+3
podman kill -s KILL "$NAME"
