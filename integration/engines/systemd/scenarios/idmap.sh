# An id-mapped volume: what the container's root writes is the directory's owner's.
mkdir -p "/var/tmp/$NAME"
cleanup() { rm -rf "/var/tmp/$NAME"; }
podman run --rm --userns=auto -v "/var/tmp/$NAME:/v:idmap" "$IMAGE" sh -c 'touch /v/x; stat -c %u /v/x'
same "$(stat -c %u "/var/tmp/$NAME/x")" 0
