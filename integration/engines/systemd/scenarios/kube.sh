# .kube of quadlet and play kube: init containers first, probes.
dir=$HOME/.config/containers/systemd
[ "$WHO" = rootless ] || dir=/etc/containers/systemd
mkdir -p "$dir"
cleanup() {
    ctl stop "$NAME"
    podman kube down --force "$dir/$NAME.yaml"
    rm -f "$dir/$NAME"*
    ctl daemon-reload
}
cat >"$dir/$NAME.yaml" <<EOF
apiVersion: v1
kind: Pod
metadata:
  name: $NAME
spec:
  initContainers:
  - name: first
    image: $IMAGE
    command: [sh, -c, "echo made by init >/data/index.html"]
    volumeMounts: [{name: data, mountPath: /data}]
  containers:
  - name: web
    image: $IMAGE
    command: [httpd, -f, -p, "80", -h, /data]
    ports: [{containerPort: 80, hostPort: $PORT, hostIP: 127.0.0.1}]
    livenessProbe:
      exec: {command: [test, "!", -e, /tmp/sick]}
      periodSeconds: 3
      failureThreshold: 1
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    emptyDir: {}
EOF
podman kube play "$dir/$NAME.yaml"
within curl -sf "127.0.0.1:$PORT/"
same "$(curl -s "127.0.0.1:$PORT/")" 'made by init'
within is "$NAME-web" .State.Health.Status healthy
first=$(field "$NAME-web" .State.StartedAt)
podman exec "$NAME-web" touch /tmp/sick
anew() { [ "$(field "$NAME-web" .State.StartedAt)" != "$first" ]; }
within anew
podman kube down "$dir/$NAME.yaml"
printf '[Kube]\nYaml=%s.yaml\n' "$NAME" >"$dir/$NAME.kube"
ctl daemon-reload
started() { ctl reset-failed "$NAME" 2>/dev/null || true; ctl start "$NAME"; }
within started
same "$(ctl is-active "$NAME")" active
within curl -sf "127.0.0.1:$PORT/"
ctl stop "$NAME"
status 1 podman pod exists "$NAME"
