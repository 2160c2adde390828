# ctr under systemd's driver: a task outlives a restart of containerd; metrics, exec, exit codes.
exec 9>/run/docker-use
flock -x 9
systemctl start containerd
ctr image ls -q | grep docker.io/scenario:1 >/dev/null || {
    podman push -q "$IMAGE" "oci-archive:/var/tmp/scenario.oci:docker.io/scenario:1"
    ctr image import --digests=false /var/tmp/scenario.oci
}
image=$(ctr image ls -q | grep scenario | sed -n 1p)
cleanup() { ctr task kill -s KILL "$NAME"; ctr task rm -f "$NAME"; ctr container rm "$NAME"; }
# Without the shares of the processor and the capability that ctr gives: the machine may not have them.
start() {
    ctr run --runc-binary "$(command -v "$RUNTIME")" --cpu-shares 0 --cap-drop CAP_AUDIT_WRITE \
        --runc-systemd-cgroup --cgroup "system.slice:ctr:$1" "${@:2}"
}
start "$NAME" -d "$image" "$NAME" sh -c 'while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 6'
same "$(systemctl is-active "ctr-$NAME.scope")" active
has "$(ctr task ls)" RUNNING
systemctl restart containerd
within ctr version
has "$(ctr task ls)" RUNNING
ctr task metrics "$NAME" | grep TIMESTAMP >/dev/null
same "$(ctr task exec --exec-id one "$NAME" echo in)" in
ctr task exec --exec-id two "$NAME" touch /tmp/end
stopped() { ctr task ls | grep "$NAME" | grep STOPPED >/dev/null; }
within stopped
has "$(ctr task rm "$NAME" 2>&1)" "exit code 6"
ctr container rm "$NAME"
status 5 start "$NAME-2" --rm "$image" "$NAME-2" sh -c 'exit 5'
