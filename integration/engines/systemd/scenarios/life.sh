# run, logs, exec, restart, stop, rm; the container's scope is where systemd has it.
podman run -d --name "$NAME" "$IMAGE" sh -c 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
logs "$NAME" ready
scope=libpod-$(field "$NAME" .Id).scope
same "$(podman info --format '{{.Host.CgroupManager}}')" systemd
same "$(ctl is-active "$scope")" active
pid=$(field "$NAME" .State.Pid)
grep -F "$(ctl show -p ControlGroup --value "$scope")" "/proc/$pid/cgroup"
same "$(podman exec "$NAME" echo in)" in
status 7 podman exec "$NAME" sh -c 'exit 7'
status 127 podman exec "$NAME" /no/such
podman restart -t 20 "$NAME"
logs "$NAME" bye
podman stop -t 20 "$NAME"
same "$(field "$NAME" .State.ExitCode)" 3
podman start "$NAME"
podman kill -s KILL "$NAME"
same "$(podman wait "$NAME")" 137
podman rm "$NAME"
within inactive "$scope"
status 5 podman run --rm "$IMAGE" sh -c 'exit 5'
status 127 podman run --rm "$IMAGE" /no/such
same "$(echo words | podman run -i --rm "$IMAGE" cat)" words
