# User namespaces: who is who inside and outside.
map() { podman run --rm "$@" "$IMAGE" cat /proc/self/uid_map | tr -s ' ' | sed -n 1p; }
has "$(map --userns=auto)" ' 0 '
one=$(podman run -d --name "$NAME-1" --userns=auto "$IMAGE" sleep 1000)
two=$(podman run -d --name "$NAME-2" --userns=auto "$IMAGE" sleep 1000)
owner() { stat -c %u "/proc/$(field "$1" .State.Pid)"; }
[ "$(owner "$one")" != "$(owner "$two")" ]
[ "$(owner "$one")" != 0 ]
same "$(podman exec "$NAME-1" id -u)" 0
if [ "$WHO" = rootless ]; then
    same "$(podman run --rm --userns=keep-id "$IMAGE" id -u)" "$(id -u)"
    same "$(podman run --rm --userns=keep-id:uid=5,gid=6 "$IMAGE" sh -c 'echo $(id -u) $(id -g)')" '5 6'
    podman run --rm --userns=nomap "$IMAGE" true
    mkdir -p "$HOME/$NAME"
    podman run --rm --userns=keep-id -v "$HOME/$NAME:/v" "$IMAGE" touch /v/mine
    same "$(stat -c %U "$HOME/$NAME/mine")" "$(id -un)"
fi
podman rm -f -t 0 "$NAME-1" "$NAME-2"
