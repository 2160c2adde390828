# Type=notify units: who tells systemd that the container is up, and when.
cleanup() { podman rm -f -t 0 --filter "name=^$NAME"; ctl stop "$NAME-conmon" "$NAME-container" "$NAME-healthy"; ctl reset-failed; }
manager=--user
[ "$WHO" = rootless ] || manager=--system
start() {
    local kind=$1
    shift
    systemd-run $manager --unit "$NAME-$kind" -p Type=notify -p NotifyAccess=all -p TimeoutStartSec=100 \
        podman run --rm -d --replace --name "$NAME-$kind" --sdnotify "$kind" "$@"
}
start conmon "$IMAGE" sleep 1000
same "$(ctl is-active "$NAME-conmon")" active
same "$(cat "/proc/$(ctl show -p MainPID --value "$NAME-conmon")/comm")" conmon
# The container tells it by itself, over its NOTIFY_SOCKET, when it wants.
start container "$IMAGE" sh -c 'test -S "$NOTIFY_SOCKET" && exec sleep 1000' &
starting=$!
within is "$NAME-container" .State.Status running
same "$(ctl is-active "$NAME-container" || true)" activating
# busybox has no datagram client: one of this machine speaks for it, through the same socket.
socket=$(podman exec "$NAME-container" sh -c 'tr "\0" "\n" </proc/1/environ | sed -n s/^NOTIFY_SOCKET=//p')
enter=
[ "$WHO" = rootful ] || enter='podman unshare'
$enter python3 - "/proc/$(field "$NAME-container" .State.Pid)/root$socket" <<'EOF'
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(sys.argv[1])
s.send(b"READY=1")
EOF
wait $starting
same "$(ctl is-active "$NAME-container")" active
# When its first health check is good.
start healthy --health-cmd 'test -e /tmp/ok' --health-interval 3s "$IMAGE" sleep 1000 &
starting=$!
within is "$NAME-healthy" .State.Status running
same "$(ctl is-active "$NAME-healthy" || true)" activating
podman exec "$NAME-healthy" touch /tmp/ok
wait $starting
same "$(ctl is-active "$NAME-healthy")" active
podman rm -f -t 0 "$NAME-conmon" "$NAME-container" "$NAME-healthy"
for kind in conmon container healthy; do within inactive "$NAME-$kind"; done
