# `events`: memory that runs out, and the statistics beside the files that they are read from.

trials v2,hybrid cgroupfs,systemd oom_before_the_end oom_of_another_process
trials v2 cgroupfs,systemd stats

HUNGRY='{"memory": {"limit": 33554432, "swap": 33554432}}'
EAT='dd if=/dev/zero of=/dev/null bs=64M count=1'

# follow: `events` into a file, once it listens.
follow() {
    rt events --interval 300ms "$NAME" >"/run/logs/$NAME.events" 2>&1 &
    FOLLOWER=$!
    until_it grep -q '"type":"stats"' "/run/logs/$NAME.events"
}

# The container's own process is killed; the event comes before the command ends.
oom_before_the_end() {
    memory_controller
    create "$HUNGRY" '.process.args = ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; exec '"$EAT"'"]
        | .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]'
    rt start "$NAME"
    follow
    rt exec "$NAME" touch /tmp/go
    wait $FOLLOWER
    cat "/run/logs/$NAME.events"
    grep -q '"type":"oom"' "/run/logs/$NAME.events" || fail 'no event of memory that ran out'
    until_it stopped
    rt delete "$NAME"
}

stopped() { [ "$(state)" = stopped ]; }

oom_of_another_process() {
    memory_controller
    idle "$HUNGRY"
    follow
    ! rt exec "$NAME" $EAT || fail 'it was not killed'
    until_it grep -q '"type":"oom"' "/run/logs/$NAME.events"
    same status running "$(state)"
    remove
    wait $FOLLOWER
}

memory_controller() {
    [ $LAYOUT = v2 ] || [ -d /sys/fs/cgroup/memory ] || ignore 'the kernel has no memory controller for v1'
}

# field FILE KEY: a number in a file of such lines.
field() { sed -n "s/^$2 //p" "$DIR/$1"; }

# read_stats: the statistics, and CPU_STAT as it was before and after: the timer of the processor's bandwidth counts
# some periods more when nobody runs.
read_stats() {
    CPU_STAT=$(<"$DIR/cpu.stat")
    rt events --stats "$NAME" >"/run/logs/$NAME.stats"
    [ "$CPU_STAT" = "$(<"$DIR/cpu.stat")" ]
}

# cpu_stat KEY: a number of CPU_STAT.
cpu_stat() { sed -n "s/^$1 //p" <<<"$CPU_STAT"; }

stats() {
    idle '{"memory": {"limit": 67108864, "swap": 100663296}, "pids": {"limit": 30}, "cpu": {"quota": 50000, "period": 100000}}' \
        '.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]'
    rt exec "$NAME" sh -c 'dd if=/dev/zero of=/tmp/x bs=1M count=4 2>/dev/null; cat /tmp/x >/dev/null'
    # Nobody in it runs any more: the numbers stand still.
    rt pause "$NAME"
    group memory
    until_it read_stats
    cat "/run/logs/$NAME.stats"
    data() { jq -r ".data$1" "/run/logs/$NAME.stats"; }
    same 'memory limit' 67108864 "$(data .memory.usage.limit)"
    same 'memory usage' "$(<"$DIR/memory.current")" "$(data .memory.usage.usage)"
    same 'memory peak' "$(<"$DIR/memory.peak")" "$(data .memory.usage.max)"
    same 'memory kills' "$(field memory.events oom)" "$(data .memory.usage.failcnt)"
    same 'swap limit' $((96 * 1048576)) "$(data .memory.swap.limit)"
    same 'pids' "$(<"$DIR/pids.current") 30" "$(data .pids.current) $(data .pids.limit)"
    same 'cpu total' $(($(cpu_stat usage_usec) * 1000)) "$(data .cpu.usage.total)"
    same 'cpu user' $(($(cpu_stat user_usec) * 1000)) "$(data .cpu.usage.user)"
    same 'cpu kernel' $(($(cpu_stat system_usec) * 1000)) "$(data .cpu.usage.kernel)"
    same 'cpu periods' "$(cpu_stat nr_periods)" "$(data .cpu.throttling.periods)"
    same 'cpu throttled' "$(cpu_stat nr_throttled)" "$(data .cpu.throttling.throttledPeriods)"
    same 'anon' "$(field memory.stat anon)" "$(data .memory.raw.anon)"
    same 'shmem' "$(field memory.stat shmem)" "$(data .memory.raw.shmem)"
    same 'psi of memory' "$(sed -n 's/^some.*total=//p' "$DIR/memory.pressure")" "$(data .memory.psi.some.total)"
    same 'psi of cpu' "$(sed -n 's/^some.*total=//p' "$DIR/cpu.pressure")" "$(data .cpu.psi.some.total)"
    same 'psi of io' "$(sed -n 's/^full.*total=//p' "$DIR/io.pressure")" "$(data .blkio.psi.full.total)"
    [ "$(data .memory.usage.usage)" -gt 4000000 ] || fail 'what is in /tmp does not count'
    rt resume "$NAME"
    remove
}
