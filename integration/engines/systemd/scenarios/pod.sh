# A pod with a published port; its containers share what a pod shares.
podman pod create --name "$NAME" --publish "127.0.0.1:$PORT:80"
podman run -d --pod "$NAME" --name "$NAME-web" "$IMAGE" httpd -f -p 80 -h /srv
same "$(within curl -sf "127.0.0.1:$PORT/"; curl -s "127.0.0.1:$PORT/")" served
same "$(podman run --rm --pod "$NAME" "$IMAGE" wget -qO- 127.0.0.1/)" served
podman pod stop -t 0 "$NAME"
# pasta, which holds the port, ends a moment after its namespace.
within podman pod start "$NAME"
within curl -sf "127.0.0.1:$PORT/"
same "$(podman pod inspect --format '{{.State}}' "$NAME")" Running
podman pod stop -t 0 "$NAME"
same "$(podman pod inspect --format '{{.State}}' "$NAME")" Exited
podman pod rm "$NAME"
