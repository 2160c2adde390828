# .container, .pod, .volume and .network, as the user's or the system's units.
dir=$HOME/.config/containers/systemd
[ "$WHO" = rootless ] || dir=/etc/containers/systemd
mkdir -p "$dir"
cleanup() {
    ctl stop "$NAME-web" "$NAME-pod" "$NAME-alone" "$NAME-network" "$NAME-volume"
    rm -f "$dir/$NAME"*
    ctl daemon-reload
    podman volume rm -f "systemd-$NAME"
    podman network rm -f "systemd-$NAME"
    podman rm -f -t 0 "$NAME-web" "$NAME-alone"
}
printf '[Volume]\n' >"$dir/$NAME.volume"
printf '[Network]\n' >"$dir/$NAME.network"
cat >"$dir/$NAME.pod" <<EOF
[Pod]
PodName=$NAME
Network=$NAME.network
PublishPort=127.0.0.1:$PORT:80
EOF
cat >"$dir/$NAME-web.container" <<EOF
[Container]
Image=$IMAGE
ContainerName=$NAME-web
Pod=$NAME.pod
Volume=$NAME.volume:/data
StopSignal=KILL
Exec=sh -c 'echo from a volume >/data/index.html; exec httpd -f -p 80 -h /data'
[Install]
WantedBy=default.target
EOF
cat >"$dir/$NAME-alone.container" <<EOF
[Container]
Image=$IMAGE
ContainerName=$NAME-alone
Notify=healthy
HealthCmd=test -e /tmp/up
HealthInterval=3s
ReadOnly=true
DropCapability=all
Tmpfs=/tmp
StopSignal=KILL
Exec=sh -c 'sleep 1; echo up >/tmp/up; sleep 1000'
[Service]
Restart=always
EOF
ctl daemon-reload
ctl start "$NAME-web"
within curl -sf "127.0.0.1:$PORT/"
same "$(curl -s "127.0.0.1:$PORT/")" 'from a volume'
same "$(ctl is-active "$NAME-pod")" active
ctl start "$NAME-alone"
same "$(field "$NAME-alone" .State.Health.Status)" healthy
first=$(field "$NAME-alone" .Id)
ctl restart "$NAME-alone"
[ "$(field "$NAME-alone" .Id)" != "$first" ]
unit=$(ctl show -p ControlGroup --value "$NAME-alone")
has "$(sed -n 's/^0:://p' "/proc/$(field "$NAME-alone" .State.Pid)/cgroup")" "$unit"
ctl stop "$NAME-alone" "$NAME-pod"
status 1 podman container exists "$NAME-alone"
