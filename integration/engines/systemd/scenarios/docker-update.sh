# docker update of a running container.
docker_up
docker run -d --name "$NAME" --memory 200m --memory-swap 200m scenario:1 sleep 1000
group=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(docker inspect --format '{{.State.Pid}}' "$NAME")/cgroup")
same "$(cat "$group/memory.max")" 209715200
docker update --memory 300m --memory-swap 300m --cpus 0.5 --pids-limit 50 "$NAME"
same "$(cat "$group/memory.max")" 314572800
same "$(cat "$group/cpu.max")" '50000 100000'
same "$(cat "$group/pids.max")" 50
