# What podman has learned since 5.4: exec without a session of its own, variables and limits by update, parts of images.
podman run -d --name "$NAME" -e OLD=1 "$IMAGE" sh -c 'while :; do sleep 0.1; done'
same "$(podman exec --no-session "$NAME" echo in)" in
same "$(echo words | podman exec -i --no-session "$NAME" cat)" words
status 7 podman exec --no-session "$NAME" sh -c 'exit 7'
status 127 podman exec --no-session "$NAME" /no/such
status 137 podman exec --no-session "$NAME" sh -c 'kill -9 $$'
same "$(podman exec --no-session --user 1000 --workdir /srv "$NAME" sh -c 'echo $(id -u) $(pwd)')" '1000 /srv'
same "$(podman exec --no-session --privileged "$NAME" echo in)" in
podman update --env NEW=2 --unsetenv OLD --ulimit nofile=123:456 "$NAME"
podman restart -t 0 "$NAME"
environment() { podman exec "$NAME" sh -c 'tr "\0" "\n" </proc/1/environ'; }
has "$(environment)" NEW=2
same "$(environment | grep -c ^OLD= || true)" 0
has "$(podman exec "$NAME" grep 'open files' /proc/1/limits | tr -s ' ')" '123 456'
same "$(podman run --rm --mount "type=image,src=$IMAGE,dst=/i,subpath=/srv" "$IMAGE" cat /i/index.html)" served
# What its own runtimes are known to say of themselves is taken from `features`.
has "$(podman info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Version}}')" "$RUNTIME"
