# buildah build: RUN under the runtime, layers, a user, a secret.
dir=$(mktemp -d /var/tmp/build.XXXXXX)
cleanup() { rm -rf "$dir"; podman rmi -f "localhost/$NAME"; }
# buildah asks for more open files than a machine without CAP_SYS_RESOURCE may give.
few='--ulimit nofile=1024:1024 --ulimit nproc=1000:1000'
echo hidden >"$dir/secret"
cat >"$dir/Containerfile" <<EOF
FROM $IMAGE
RUN echo one >/srv/one && test \$(id -u) = 0
RUN --mount=type=secret,id=word grep -q hidden /run/secrets/word
USER 1000
RUN id -u >/tmp/who
CMD ["cat", "/srv/one", "/tmp/who"]
EOF
buildah build $few --runtime "$(command -v "$RUNTIME")" --isolation oci --secret "id=word,src=$dir/secret" -t "localhost/$NAME" "$dir"
same "$(podman run --rm "localhost/$NAME" | tr '\n' ' ')" 'one 1000 '
container=$(buildah from $few "$IMAGE")
same "$(buildah run --runtime "$(command -v "$RUNTIME")" --isolation oci "$container" -- echo in)" in
status 3 buildah run --runtime "$(command -v "$RUNTIME")" --isolation oci "$container" -- sh -c 'exit 3'
buildah rm "$container"
podman build $few --isolation oci -t "localhost/$NAME:2" "$dir" --secret "id=word,src=$dir/secret"
podman rmi "localhost/$NAME:2"
