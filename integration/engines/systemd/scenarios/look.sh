# top, stats, inspect, events: what an engine tells of a container.
podman run -d --name "$NAME" "$IMAGE" sh -c 'while :; do sleep 1; done'
has "$(podman top "$NAME")" 'while :'
same "$(podman top "$NAME" pid | sed -n 2p)" 1
has "$(podman stats --no-stream --format '{{.Name}} {{.CPU}}' "$NAME" 2>/dev/null)" "$NAME"
podman stats --no-stream --format json "$NAME" 2>/dev/null | grep cpu_time >/dev/null
same "$(podman ps --format '{{.Names}}' --filter "name=^$NAME\$")" "$NAME"
has "$(podman inspect --format '{{.OCIRuntime}}' "$NAME")" "$RUNTIME"
podman pause "$NAME"
is "$NAME" .State.Status paused
podman unpause "$NAME"
is "$NAME" .State.Status running
podman rename "$NAME" "$NAME-2"
has "$(podman diff "$NAME-2")" ' /'
podman stop -t 0 "$NAME-2"
has "$(podman events --stream=false --since 5m --filter "container=$NAME-2" --format '{{.Status}}')" died
podman rm "$NAME-2"
