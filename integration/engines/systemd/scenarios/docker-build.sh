# docker build with RUN, by Docker's own builder and default runtime.
docker_up
dir=$(mktemp -d)
cleanup() { rm -rf "$dir"; docker rmi -f "$NAME"; }
printf 'FROM scenario:1\nRUN echo one >/srv/one\nUSER 1000\nRUN id -u >/tmp/who\nCMD ["cat", "/srv/one", "/tmp/who"]\n' >"$dir/Dockerfile"
DOCKER_BUILDKIT=0 docker build -t "$NAME" "$dir"
same "$(docker run --rm "$NAME" | tr '\n' ' ')" 'one 1000 '
printf 'FROM scenario:1\nRUN exit 4\n' >"$dir/Dockerfile"
status 4 env DOCKER_BUILDKIT=0 docker build -t "$NAME:bad" "$dir"
