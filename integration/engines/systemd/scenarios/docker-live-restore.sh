# live-restore: containers outlive their daemon, and it finds them again.
docker_up -x
[ -e /etc/docker/daemon.json ] || echo '{ "labels": [] }' >/etc/docker/daemon.json
cp /etc/docker/daemon.json /run/daemon.json
cleanup() { cp /run/daemon.json /etc/docker/daemon.json; systemctl reload docker; }
sed -i 's/^{/{ "live-restore": true,/' /etc/docker/daemon.json
systemctl reload docker
within sh -c '[ "$(docker info --format "{{.LiveRestoreEnabled}}")" = true ]'
docker run $CAPS -d --name "$NAME" scenario:1 sh -c 'while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 6'
pid=$(docker inspect --format '{{.State.Pid}}' "$NAME")
systemctl kill -s KILL docker
within curl -sf --unix-socket /run/docker.sock http://localhost/_ping
kill -0 "$pid"
same "$(docker inspect --format '{{.State.Pid}}' "$NAME")" "$pid"
docker exec "$NAME" touch /tmp/end
same "$(docker wait "$NAME")" 6
