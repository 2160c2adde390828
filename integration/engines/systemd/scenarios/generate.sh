# podman generate systemd --new: units that make their container anew.
dir=$HOME/.config/systemd/user
[ "$WHO" = rootless ] || dir=/etc/systemd/system
mkdir -p "$dir"
cleanup() { ctl disable --now "$NAME-unit"; rm -f "$dir/$NAME-unit.service"; ctl daemon-reload; ctl reset-failed; }
podman create --name "$NAME" --restart always "$IMAGE" sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done'
podman generate systemd --new --no-header --name "$NAME" >"$dir/$NAME-unit.service"
podman rm "$NAME"
ctl daemon-reload
ctl enable --now "$NAME-unit"
same "$(ctl is-active "$NAME-unit")" active
id=$(field "$NAME" .Id)
pid=$(field "$NAME" .State.Pid)
# The processes are in the unit's own group (--cgroups=split or no-conmon) or in a scope of podman's.
kill -KILL "$pid"
anew() { [ "$(ctl is-active "$NAME-unit")" = active ] && [ "$(field "$NAME" .Id)" != "$id" ]; }
within anew
ctl restart "$NAME-unit"
same "$(ctl is-active "$NAME-unit")" active
ctl stop "$NAME-unit"
status 1 podman container exists "$NAME"
