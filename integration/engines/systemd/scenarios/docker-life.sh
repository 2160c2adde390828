# run, logs, exec, stop, restart, stats, top: with systemd's driver, as Docker has it on cgroup2.
docker_up
same "$(docker info --format '{{.DefaultRuntime}}')" "$RUNTIME"
docker run $CAPS -d --name "$NAME" scenario:1 sh -c 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
within docker_says "$NAME" ready
same "$(docker info --format '{{.CgroupDriver}}')" systemd
same "$(systemctl is-active "docker-$(docker inspect --format '{{.Id}}' "$NAME").scope")" active
same "$(docker exec "$NAME" echo in)" in
status 7 docker exec "$NAME" sh -c 'exit 7'
has "$(docker top "$NAME")" 'echo ready'
has "$(docker stats --no-stream --format '{{.Name}} {{.PIDs}}' "$NAME")" "$NAME"
docker restart -t 20 "$NAME"
within docker_says "$NAME" bye
docker pause "$NAME"
docker unpause "$NAME"
docker stop -t 20 "$NAME"
same "$(docker inspect --format '{{.State.ExitCode}}' "$NAME")" 3
docker rm "$NAME"
status 127 docker run $CAPS --rm scenario:1 /no/such
status 5 docker run $CAPS --rm scenario:1 sh -c 'exit 5'
same "$(docker run $CAPS --rm --read-only --tmpfs /t scenario:1 sh -c 'touch /t/x; touch /x 2>/dev/null || echo fixed')" fixed
