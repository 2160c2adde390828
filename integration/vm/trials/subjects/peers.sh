# The same bundle under crun and under richrun.

trials v2,hybrid cgroupfs,systemd beside_crun beside_runc
trials v2 cgroupfs,systemd beside_crun_update

BOTH='{"cpu": {"quota": 25000, "period": 50000, "cpus": "0"}, "memory": {"limit": 67108864, "swap": 100663296, "reservation": 33554432},
    "pids": {"limit": 64}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
    "blockIO": {"weight": 300, "throttleReadBpsDevice": [{"major": 254, "minor": 32, "rate": 2097152}]}}'
BOTH_V1='{"cpu": {"shares": 512, "quota": 25000, "period": 50000}, "pids": {"limit": 64},
    "blockIO": {"throttleReadBpsDevice": [{"major": 254, "minor": 32, "rate": 2097152}]}}'

# Every limit there is: files that can be written and are no measure. Not those of what this machine
# does not have, which are there or not by what ran before; nor what crun leaves alone where runc does not
# (hugetlb.*.rsvd.max), nor the list of devices, in which crun has /dev/console too.
settings() {
    local controller file lines
    { set +x; } 2>/dev/null
    for controller in $([ $LAYOUT = v2 ] && echo v2 || echo cpu memory pids blkio devices hugetlb); do
        group "$controller"
        for file in "$DIR"/*; do
            case ${file##*/} in
                rdma.* | misc.* | *.rsvd.*) ;;
                devices.list) [ "$PEER" = crun ] || sort "$file" ;;
                cgroup.type | cgroup.max.* | *.max | *.max.burst | *.high | *.low | *.min | *.weight* | cpuset.cpus | cpuset.mems | \
                    cpu.idle | cpu.cfs_* | cpu.shares | memory.oom.group | *.read_bps_device | *.limit_in_bytes)
                    mapfile -t lines <"$file"
                    echo "${file##*/} ${lines[*]}"
                    ;;
            esac
        done
    done
    # crun tells systemd a sum of memory and swap, and another weight than it writes; neither peer tells of throttles.
    [ "$DRIVER" != systemd ] || systemctl show "t-$NAME.scope" --property \
        CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,AllowedCPUs,MemoryMax,MemoryLow,TasksMax,Slice,Delegate,DevicePolicy
    set -x
}

# of RUNTIME [UPDATE]
of() {
    local RUNTIME=$1 resources=$BOTH
    [ $LAYOUT = v2 ] || resources=$BOTH_V1
    create "$resources"
    if [ -n "${2:-}" ]; then
        # shellcheck disable=SC2086
        rt update $2 "$NAME"
    fi
    settings
    remove >/dev/null
}

beside() {
    PEER=${1##*/}
    of "$1" "${2:-}" >"/run/logs/$NAME.peer"
    of "$RUNTIME" "${2:-}" >"/run/logs/$NAME.own"
    diff "/run/logs/$NAME.peer" "/run/logs/$NAME.own"
}

beside_crun() { beside /usr/bin/crun; }
beside_runc() { beside /usr/sbin/runc; }
beside_crun_update() { beside /usr/bin/crun '--memory 134217728 --memory-swap 134217728 --pids-limit 70 --cpu-quota 30000 --cpu-period 60000 --blkio-weight 500'; }
