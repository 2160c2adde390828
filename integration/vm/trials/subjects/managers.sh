# What systemd does by itself leaves a container as it is.

trials v2,hybrid systemd daemon_reload daemon_reexec set_property_of_another after_an_update
trials v2,hybrid cgroupfs daemon_reload daemon_reexec

# Limits of every kind, one of which systemd rounds and one of which it does not know, and devices.
ALL='{"cpu": {"shares": 512, "quota": 12345, "period": 100000}, "memory": {"limit": 67108864}, "pids": {"limit": 30},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
    "blockIO": {"weight": 300, "throttleReadBpsDevice": [{"major": 254, "minor": 32, "rate": 2097152}]}}'
# On the kernel's v1 here there are not all controllers.
ALL_V1='{"cpu": {"shares": 512, "quota": 12345, "period": 100000}, "memory": {"limit": 67108864}, "pids": {"limit": 30},
    "blockIO": {"throttleReadBpsDevice": [{"major": 254, "minor": 32, "rate": 2097152}]}}'
FILES='cpu.weight cpu.max memory.max pids.max io.max io.weight hugetlb.2MB.max'
FILES_V1='cpu.shares cpu.cfs_quota_us cpu.cfs_period_us memory.limit_in_bytes pids.max blkio.throttle.read_bps_device'

limited() {
    if [ $LAYOUT = v2 ]; then idle "$ALL" "$DEVICES"; else idle "$ALL_V1" "$DEVICES"; fi
}

values() {
    local file files=$FILES
    [ $LAYOUT = v2 ] || files=$FILES_V1
    for file in $files; do
        knob "$file"
        echo "$file $VALUE"
    done
}

# The scratch disk may be read.
DEVICES='.linux.resources.devices += [{allow: true, type: "b", major: 254, minor: 32, access: "r"}]
    | .linux.devices = [{path: "/dev/scratch", type: "b", major: 254, minor: 32, fileMode: 438},
        {path: "/dev/other", type: "b", major: 254, minor: 0, fileMode: 438}]'

devices_hold() {
    rt exec "$NAME" dd if=/dev/scratch of=/dev/null bs=4096 count=1
    rt exec "$NAME" sh -c 'echo x >/dev/null'
    ! rt exec "$NAME" dd if=/dev/other of=/dev/null bs=4096 count=1 || fail 'a disk that is not allowed was read'
    ! rt exec "$NAME" sh -c 'echo x >/dev/scratch' || fail 'a disk that may be read was written'
}

unchanged_by() {
    local before
    limited
    devices_hold
    before=$(values)
    "$@"
    same "after $*" "$before" "$(values)"
    devices_hold
    remove
}

daemon_reload() { unchanged_by systemctl daemon-reload; }
daemon_reexec() { unchanged_by systemctl daemon-reexec; }

# systemd goes through a slice's units when one of them changes.
set_property_of_another() {
    change_another() {
        systemctl set-property --runtime dbus.service CPUWeight=200 IOWeight=200 MemoryMax=500M
        systemctl set-property --runtime system.slice CPUWeight=150 TasksMax=5000
    }
    unchanged_by change_another
}

after_an_update() {
    update_and_reload() {
        rt update --cpu-share 700 --pids-limit 33 "$NAME"
        systemctl daemon-reload
        rt update --cpu-share 512 --pids-limit 30 "$NAME"
        systemctl daemon-reload
    }
    unchanged_by update_and_reload
}
