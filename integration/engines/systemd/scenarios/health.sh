# Health checks by transient timers; what a container that is sick comes to.
podman run -d --name "$NAME" --health-cmd 'test -e /tmp/ok' --health-interval 3s --health-retries 2 \
    --health-on-failure none "$IMAGE" sleep 1000
within is "$NAME" .State.Health.Status unhealthy
status 1 podman healthcheck run "$NAME"
podman exec "$NAME" touch /tmp/ok
within is "$NAME" .State.Health.Status healthy
podman healthcheck run "$NAME"
has "$(ctl list-timers --all --no-legend)" "$(field "$NAME" .Id)"
podman run -d --name "$NAME-kill" --health-cmd 'test ! -e /tmp/sick' --health-interval 3s --health-retries 1 \
    --health-on-failure restart "$IMAGE" sleep 1000
within is "$NAME-kill" .State.Health.Status healthy
first=$(field "$NAME-kill" .State.Pid)
podman exec "$NAME-kill" touch /tmp/sick
other() { pid=$(field "$NAME-kill" .State.Pid); [ "$pid" != 0 ] && [ "$pid" != "$first" ]; }
within other
