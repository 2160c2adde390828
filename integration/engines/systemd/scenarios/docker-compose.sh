# Services on a network of their own, by docker compose.
docker_up
dir=$(mktemp -d)
cleanup() { docker compose -p "$NAME" -f "$dir/compose.yaml" down -v -t 0; rm -rf "$dir"; }
cat >"$dir/compose.yaml" <<EOF
services:
  back:
    image: scenario:1
    cap_drop: [ALL]
    command: httpd -f -p 80 -h /srv
    healthcheck: {test: [CMD, wget, -qO-, "http://127.0.0.1/"], interval: 1s}
  front:
    image: scenario:1
    cap_drop: [ALL]
    depends_on: {back: {condition: service_healthy}}
    command: sh -c 'wget -qO /tmp/index.html http://back/ && exec httpd -f -p 80 -h /tmp'
    ports: ["127.0.0.1:$PORT:80"]
    volumes: ["data:/data"]
volumes: {data: {}}
EOF
docker compose -p "$NAME" -f "$dir/compose.yaml" up -d
within curl -sf "127.0.0.1:$PORT/"
same "$(curl -s "127.0.0.1:$PORT/")" served
same "$(docker compose -p "$NAME" -f "$dir/compose.yaml" exec -T front wget -qO- http://back/)" served
docker compose -p "$NAME" -f "$dir/compose.yaml" restart -t 0 front
within curl -sf "127.0.0.1:$PORT/"
docker compose -p "$NAME" -f "$dir/compose.yaml" down -v -t 0
same "$(docker ps -aq --filter "label=com.docker.compose.project=$NAME")" ''
