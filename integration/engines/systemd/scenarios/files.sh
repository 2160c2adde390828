# --read-only, secrets, tmpfs and volumes, devices, hooks of the network: what a container sees.
status 1 podman run --rm --read-only "$IMAGE" touch /x
podman run --rm --read-only "$IMAGE" touch /tmp/x /run/x
status 1 podman run --rm --read-only --read-only-tmpfs=false "$IMAGE" touch /tmp/x
echo s3cret | podman secret create "$NAME" -
cleanup() { podman secret rm "$NAME"; podman volume rm -f "$NAME"; }
same "$(podman run --rm --secret "$NAME" "$IMAGE" cat "/run/secrets/$NAME")" s3cret
same "$(podman run --rm --secret "$NAME,type=env,target=WORD" "$IMAGE" sh -c 'echo $WORD')" s3cret
same "$(podman run --rm --secret "$NAME,mode=0400,uid=1000" "$IMAGE" stat -c '%a %u' "/run/secrets/$NAME")" '400 1000'
podman volume create "$NAME"
podman run --rm -v "$NAME:/v" "$IMAGE" sh -c 'echo kept >/v/x'
same "$(podman run --rm -v "$NAME:/v:ro" "$IMAGE" cat /v/x)" kept
status 1 podman run --rm -v "$NAME:/v:ro" "$IMAGE" touch /v/y
has "$(podman run --rm --tmpfs /t:size=1m "$IMAGE" mount)" 'on /t type tmpfs'
podman run --rm --device /dev/fuse "$IMAGE" test -c /dev/fuse
same "$(podman run --rm --hostname name "$IMAGE" hostname)" name
same "$(podman run --rm --sysctl net.ipv4.ip_forward=1 "$IMAGE" cat /proc/sys/net/ipv4/ip_forward)" 1
has "$(podman run --rm --cap-drop all --security-opt no-new-privileges "$IMAGE" grep -E 'CapEff|NoNewPrivs' /proc/self/status)" 'NoNewPrivs:	1'
