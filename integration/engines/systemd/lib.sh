# The beginning of every scenario. The first command that fails ends it, and with it the
# trial; what was run stands on standard error.
#
# Given: RUNTIME, WHO (rootful or rootless), and as arguments NAME, the scenario's, for names
# of its own, and PORT, the first of ten that are its own.
set -Eeuo pipefail
IMAGE=localhost/scenario:1
NAME=$1 PORT=$2
# A rich container with systemd has no audit capabilities, which Docker gives; runc insists.
CAPS='--cap-drop ALL'

# Docker with the image; started once. Who restarts a daemon has it alone (-x).
docker_up() {
    exec 9>/run/docker-use
    flock "${1:--s}" 9
    exec 8>/run/docker-up
    flock 8
    systemctl start docker
    docker image inspect scenario:1 >/dev/null 2>&1 || docker import /var/tmp/image.tar scenario:1
    exec 8>&-
}
docker_is() { [ "$(docker inspect --format "{{$2}}" "$1")" = "$3" ]; }
docker_says() { docker logs "$1" 2>&1 | grep -F -- "$2" >/dev/null; }

# What a scenario has made goes by its name, whatever came of it.
cleanup() { :; }
leave() {
    [ $? = 0 ] || journal -o short-precise -n 25 >&2
    set +ex
    exec 2>/dev/null
    cleanup
    [ ! -S /run/docker.sock ] || docker ps -aq --filter "name=^$NAME" | xargs -r docker rm -f
    podman pod rm -f -i -t 0 "$NAME"
    podman rm -f -i -t 0 --filter "name=^$NAME"
} >/dev/null
trap leave EXIT
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR

# systemctl of who runs the scenario.
ctl() { if [ "$WHO" = rootful ]; then systemctl "$@"; else systemctl --user "$@"; fi; }

# The journal of who runs it.
journal() { if [ "$WHO" = rootful ]; then journalctl --no-pager "$@"; else journalctl --user --no-pager "$@"; fi; }

# inactive UNIT
inactive() { ! ctl is-active -q "$1"; }

# within COMMAND...: waits until it succeeds, with a bound against hanging.
within() {
    local end=$((SECONDS + 120))
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "not within 120 s: $*" >&2
            "$@"
            return 1
        fi
        sleep 0.1
    done
}

# same WORD WORD [WHAT]
same() {
    [ "$1" = "$2" ] || { echo "${3:-}: got '$1', expected '$2'" >&2; return 1; }
}

# has TEXT PART
has() {
    case $1 in *"$2"*) ;; *) echo "'$2' is not in: $1" >&2; return 1 ;; esac
}

# status NUMBER COMMAND...: its exit status, which must be that.
status() {
    local expected=$1 code=0
    shift
    "$@" || code=$?
    same $code "$expected" "$*"
}

# logs CONTAINER TEXT: waits for it.
logged() { podman logs "$1" 2>&1 | grep -F -- "$2" >/dev/null; }
logs() { within logged "$1" "$2"; }

# The state of a container, or another field of it.
field() { podman inspect --format "{{$2}}" "$1"; }
is() { [ "$(field "$1" "$2")" = "$3" ]; }
set -x
