# Limits at a container's start and by `update`, read from the group's files and from systemd.

trials v2 cgroupfs,systemd cpu cpu_idle cpuset memory pids io io_bfq hugetlb unified
trials v2 cgroupfs,systemd update_cpu update_memory update_pids update_io update_document no_limit_again
trials v2 cgroupfs,systemd refused_cpu refused_memory refused_cpuset
trials v2 cgroupfs,systemd limits_hold

MIB=1048576

cpu() {
    create '{"cpu": {"shares": 512, "quota": 25000, "period": 50000, "burst": 10000}}'
    knobs cpu.weight 59 cpu.max '25000 50000' cpu.max.burst 10000
    shown CPUWeight 59 CPUQuotaPerSecUSec 500ms CPUQuotaPeriodUSec 50ms
    remove
    # systemd counts whole per cent; the file is exact.
    create '{"cpu": {"shares": 1024, "quota": 12345, "period": 100000}}'
    knobs cpu.weight 100 cpu.max '12345 100000'
    shown CPUWeight 100 CPUQuotaPerSecUSec 130ms
    remove
}

cpu_idle() {
    create '{"cpu": {"idle": 1}}'
    knobs cpu.idle 1
    shown CPUWeight idle
    rt update --cpu-idle 0 "$NAME"
    knobs cpu.idle 0
    rt update --cpu-share 2048 "$NAME"
    knobs cpu.idle 0 cpu.weight 174
    shown CPUWeight 174
    remove
}

cpuset() {
    create '{"cpu": {"cpus": "0", "mems": "0"}}'
    knobs cpuset.cpus 0 cpuset.mems 0
    shown AllowedCPUs 0 AllowedMemoryNodes 0
    rt update --cpuset-cpus 0 --cpuset-mems 0 "$NAME"
    knobs cpuset.cpus 0 cpuset.mems 0
    remove
}

memory() {
    create '{"memory": {"limit": 67108864, "swap": 100663296, "reservation": 33554432},
        "unified": {"memory.high": "50331648", "memory.min": "4194304"}}'
    knobs memory.max $((64 * MIB)) memory.swap.max $((32 * MIB)) memory.low $((32 * MIB)) \
        memory.high $((48 * MIB)) memory.min $((4 * MIB))
    shown MemoryMax $((64 * MIB)) MemorySwapMax $((32 * MIB)) MemoryLow $((32 * MIB)) \
        MemoryHigh $((48 * MIB)) MemoryMin $((4 * MIB))
    remove
}

pids() {
    create '{"pids": {"limit": 20}}'
    knobs pids.max 20
    shown TasksMax 20
    remove
    # Fewer than are needed for a birth.
    idle '{"pids": {"limit": 1}}'
    knobs pids.max 1 pids.current 1
    shown TasksMax 1
    ! rt exec "$NAME" sh -c 'true & wait' || fail 'a second task was let in'
    remove
}

# throttle BPS IOPS: a document of limits of the scratch disk.
throttle() {
    printf '{"blockIO": {"throttleReadBpsDevice": [{"major": 254, "minor": 32, "rate": %d}],
        "throttleWriteIOPSDevice": [{"major": 254, "minor": 32, "rate": %d}]}}' "$1" "$2"
}

io() {
    modprobe --remove bfq || true
    create "$(throttle 2097152 50 | jq -c '.blockIO.weight = 300')"
    knobs io.max "$SCRATCH rbps=2097152 wbps=max riops=max wiops=50" io.weight 'default 2930'
    shown IOWeight 2930 IOReadBandwidthMax "/dev/block/$SCRATCH 2097152" IOWriteIOPSMax "/dev/block/$SCRATCH 50"
    remove
}

io_bfq() {
    modprobe bfq
    echo bfq >/sys/block/vdc/queue/scheduler
    create '{"blockIO": {"weight": 300}}'
    knobs io.bfq.weight 'default 300'
    shown IOWeight 2930
    rt update --blkio-weight 700 "$NAME"
    knobs io.bfq.weight 'default 700'
    remove
    echo none >/sys/block/vdc/queue/scheduler
    modprobe --remove bfq
}

hugetlb() {
    [ -e /sys/fs/cgroup/system.slice/hugetlb.2MB.max ] || [ -d /sys/kernel/mm/hugepages/hugepages-2048kB ] || ignore 'no huge pages of 2 MB here'
    create '{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}'
    knobs hugetlb.2MB.max 4194304
    remove
}

# Names of files have the last word.
unified() {
    create '{"memory": {"limit": 67108864}, "unified": {"memory.max": "33554432", "cpu.weight": "77", "pids.max": "33",
        "cpu.max": "30000 100000", "memory.oom.group": "1"}}'
    knobs memory.max $((32 * MIB)) cpu.weight 77 pids.max 33 cpu.max '30000 100000' memory.oom.group 1
    shown MemoryMax $((32 * MIB)) CPUWeight 77 TasksMax 33 CPUQuotaPerSecUSec 300ms OOMPolicy kill
    remove
}

update_cpu() {
    create '{"cpu": {"shares": 1024}}'
    rt update --cpu-share 512 --cpu-quota 40000 --cpu-period 80000 "$NAME"
    knobs cpu.weight 59 cpu.max '40000 80000'
    shown CPUWeight 59 CPUQuotaPerSecUSec 500ms CPUQuotaPeriodUSec 80ms
    # The period stays.
    rt update --cpu-quota 60000 "$NAME"
    knobs cpu.max '60000 80000' cpu.weight 59
    shown CPUQuotaPerSecUSec 750ms CPUQuotaPeriodUSec 80ms
    rt update --cpu-burst 5000 "$NAME"
    knobs cpu.max.burst 5000 cpu.max '60000 80000'
    rt update --cpu-quota -1 "$NAME"
    knobs cpu.max 'max 80000'
    shown CPUQuotaPerSecUSec infinity
    remove
}

update_memory() {
    create '{"memory": {"limit": 67108864, "swap": 134217728}}'
    knobs memory.max $((64 * MIB)) memory.swap.max $((64 * MIB))
    rt update --memory 128M --memory-swap 160M --memory-reservation 16M "$NAME"
    knobs memory.max $((128 * MIB)) memory.swap.max $((32 * MIB)) memory.low $((16 * MIB))
    shown MemoryMax $((128 * MIB)) MemorySwapMax $((32 * MIB)) MemoryLow $((16 * MIB))
    rt update --memory 32M --memory-swap 32M "$NAME"
    knobs memory.max $((32 * MIB)) memory.swap.max 0 memory.low $((16 * MIB))
    shown MemoryMax $((32 * MIB)) MemorySwapMax 0
    remove
}

update_pids() {
    create '{}'
    rt update --pids-limit 9 "$NAME"
    knobs pids.max 9
    shown TasksMax 9
    rt update --pids-limit -1 "$NAME"
    knobs pids.max max
    shown TasksMax infinity
    remove
}

update_io() {
    create "$(throttle 2097152 50)"
    throttle 4194304 70 | rt update --resources - "$NAME"
    knobs io.max "$SCRATCH rbps=4194304 wbps=max riops=max wiops=70"
    shown IOReadBandwidthMax "/dev/block/$SCRATCH 4194304" IOWriteIOPSMax "/dev/block/$SCRATCH 70"
    rt update --blkio-weight 500 "$NAME"
    knobs io.weight 'default 4950' io.max "$SCRATCH rbps=4194304 wbps=max riops=max wiops=70"
    shown IOWeight 4950
    # The kernel knows no rate of nothing.
    ! throttle 0 0 | rt update --resources - "$NAME" || fail 'a rate of 0 was taken'
    knobs io.max "$SCRATCH rbps=4194304 wbps=max riops=max wiops=70"
    shown IOReadBandwidthMax "/dev/block/$SCRATCH 4194304" IOWriteIOPSMax "/dev/block/$SCRATCH 70"
    remove
}

# What an engine sends: everything at once.
update_document() {
    create '{"pids": {"limit": 20}}'
    rt update --resources - "$NAME" <<'DOCUMENT'
{"memory": {"limit": 83886080, "swap": 83886080, "reservation": 41943040}, "cpu": {"shares": 2048, "quota": 50000, "period": 100000,
"cpus": "0"}, "pids": {"limit": 40}, "blockIO": {"weight": 100}, "unified": {"memory.high": "73400320"}}
DOCUMENT
    knobs memory.max $((80 * MIB)) memory.swap.max 0 memory.low $((40 * MIB)) cpu.weight 174 cpu.max '50000 100000' \
        cpuset.cpus 0 pids.max 40 io.weight 'default 910' memory.high $((70 * MIB))
    shown MemoryMax $((80 * MIB)) MemorySwapMax 0 MemoryLow $((40 * MIB)) CPUWeight 174 CPUQuotaPerSecUSec 500ms \
        AllowedCPUs 0 TasksMax 40 IOWeight 910 MemoryHigh $((70 * MIB))
    same 'the kept limit of tasks' 40 "$(jq .linux.resources.pids.limit "/run/richrun/$NAME/config.json")"
    remove
}

no_limit_again() {
    create '{"memory": {"limit": 67108864, "swap": 67108864}, "pids": {"limit": 20}, "cpu": {"quota": 50000, "period": 100000}}'
    rt update --memory -1 --memory-swap -1 --pids-limit -1 --cpu-quota -1 "$NAME"
    knobs memory.max max memory.swap.max max pids.max max cpu.max 'max 100000'
    shown MemoryMax infinity MemorySwapMax infinity TasksMax infinity CPUQuotaPerSecUSec infinity
    remove
}

# refused WORD...: this update is refused, and everything is as it was, for systemd too.
refused() {
    local before after
    before=$(everything)
    ! rt update "$@" "$NAME" 2>"/run/logs/$NAME.err" || fail "taken: $*"
    cat "/run/logs/$NAME.err"
    same 'lines of the error' 1 "$(wc -l <"/run/logs/$NAME.err")"
    after=$(everything)
    same "after $*" "$before" "$after"
}

# What the files and systemd say, and what is kept.
everything() {
    local file
    for file in cpu.weight cpu.max cpu.max.burst cpuset.cpus cpuset.mems memory.max memory.high memory.low memory.swap.max pids.max io.max io.weight; do
        knob $file
        echo "$file $VALUE"
    done
    [ "$DRIVER" != systemd ] || systemctl show "t-$NAME.scope" --property \
        CPUWeight,CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,AllowedCPUs,MemoryMax,MemoryHigh,MemoryLow,MemorySwapMax,TasksMax,IOWeight
    jq -cS .linux.resources "/run/richrun/$NAME/config.json"
}

LIMITED='{"cpu": {"shares": 512, "quota": 25000, "period": 50000}, "memory": {"limit": 67108864, "swap": 100663296}, "pids": {"limit": 30}}'

refused_cpu() {
    create "$LIMITED"
    # The burst is above the quota: the kernel refuses it, after the weight was written.
    refused --pids-limit 25 --cpu-share 2048 --cpu-burst 900000
    refused --memory 80M --cpu-period 1
    remove
}

refused_memory() {
    idle "$LIMITED"
    # Less than is in use.
    rt exec "$NAME" sh -c 'dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null'
    echo '{"cpu": {"shares": 2048}, "pids": {"limit": 25}, "memory": {"limit": 1048576, "swap": 1048576, "checkBeforeUpdate": true}}' \
        >"/run/logs/$NAME.json"
    refused --resources "/run/logs/$NAME.json"
    refused --memory 200M --memory-swap 100M
    remove
}

refused_cpuset() {
    create "$LIMITED"
    refused --cpu-share 2048 --memory 80M --cpuset-cpus 7
    refused --pids-limit 25 --cpuset-mems 5
    remove
}

limits_hold() {
    idle '{"pids": {"limit": 12}, "memory": {"limit": 33554432, "swap": 33554432}}'
    ! rt exec "$NAME" sh -c 'n=0; while [ $n -lt 30 ]; do sleep 100 & n=$((n + 1)); done' 2>/dev/null || fail 'thirty tasks beside a limit of twelve'
    remove
    idle '{"memory": {"limit": 33554432, "swap": 33554432}}'
    ! rt exec "$NAME" sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' || fail '64 MiB beside a limit of 32'
    remove
}
