# lib.sh: what the trials have in common. DRIVER is `cgroupfs` or `systemd`, NAME the container's
# name, RUNTIME who runs it (richrun unless said otherwise), LAYOUT `v2` or `hybrid`.
# shellcheck disable=SC2034

RUNTIME=${RUNTIME:-/usr/local/bin/richrun}
BUNDLES=/run/bundles
SCRATCH=254:32
ENTRIES=()
OPTIONS=()
LAYOUT=hybrid
[ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ] || LAYOUT=v2

# trials LAYOUTS DRIVERS NAME...: these functions are trials there; lists have commas.
trials() {
    local layouts=$1 drivers=$2 trial
    shift 2
    for trial in "$@"; do
        ENTRIES+=("$layouts $drivers $trial")
    done
}

# Once a boot.
prepare() {
    mkdir -p /run/logs $BUNDLES /usr/local/bin
    install -m 755 richrun rich-init /usr/local/bin/
    ln -sf richrun /usr/local/bin/richrun-rich
    (cd $BUNDLES && "$RUNTIME" spec)
}

ignore() { echo "$*"; exit 77; }
fail() { echo "$*" >&2; exit 1; }
# same WHAT EXPECTED FOUND
same() { [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"; }
# has WHAT PART FOUND
has() { case $3 in *"$2"*) ;; *) fail "$1: '$2' is not in '$3'" ;; esac; }
# until_it COMMAND...: waits for it to succeed. The trial's own bound is the only one.
until_it() { until "$@"; do sleep 0.1; done; }

# rt WORD...: the runtime, by the driver.
rt() {
    case $DRIVER in
        systemd) "$RUNTIME" --systemd-cgroup "$@" ;;
        *) "$RUNTIME" "$@" ;;
    esac
}

# bundle RESOURCES [EDIT]: a bundle of the container NAME, which idles, with these resources
# (JSON), its configuration changed by jq. Prints its folder.
bundle() {
    local dir=$BUNDLES/$NAME path=/trials/$NAME
    [ "$DRIVER" != systemd ] || path=system.slice:t:$NAME
    mkdir -p "$dir"
    jq --argjson resources "$1" --arg path "$path" --arg root "$PWD/rootfs" '
        .process.terminal = false | .process.args = ["sleep", "100000"] | .root.path = $root
        | .linux.cgroupsPath = $path
        | .linux.resources = ($resources + {devices: [{allow: false, access: "rwm"}]})
        | '"${2:-.}" $BUNDLES/config.json >"$dir/config.json"
    echo "$dir"
}

# create RESOURCES [EDIT]: creates the container NAME, which is not started, with OPTIONS; PID is its first process.
create() {
    local out=/run/logs/$NAME.out
    rt create "${OPTIONS[@]}" --pid-file "/run/logs/$NAME.pid" --bundle "$(bundle "$@")" "$NAME" </dev/null >"$out" 2>&1 || fail "$(<"$out")"
    PID=$(<"/run/logs/$NAME.pid")
}
# idle RESOURCES [EDIT]: starts it.
idle() { create "$@" && rt start "$NAME"; }
remove() { rt delete --force "$NAME"; }
state() { rt state "$NAME" | jq -r .status; }

# group [CONTROLLER]: DIR is the group's folder, on v1 that of a controller.
group() {
    local number controllers path
    while IFS=: read -r number controllers path; do
        if [ $LAYOUT = v2 ]; then
            DIR=/sys/fs/cgroup$path
            return
        fi
        case ,$controllers, in *",$1,"*) DIR=/sys/fs/cgroup/$1$path && return ;; esac
    done <"/proc/$PID/cgroup"
    fail "no group of $1"
}

# knob FILE: VALUE is what the file has, on one line. On v1 its name's first part is its controller.
knob() {
    local controller=${1%%.*} lines
    [ "$controller" != cpuacct ] || controller=cpu
    group "$controller"
    mapfile -t lines <"$DIR/$1"
    VALUE=${lines[*]}
}
# knobs FILE VALUE...: each file has the value behind it.
knobs() {
    while [ $# -gt 0 ]; do
        knob "$1"
        same "$1" "$2" "$VALUE"
        shift 2
    done
}
# shown PROPERTY VALUE...: with the systemd driver each property of the scope has the value behind it.
shown() {
    [ "$DRIVER" = systemd ] || return 0
    local all
    all=$'\n'$(systemctl show "t-$NAME.scope")$'\n'
    while [ $# -gt 0 ]; do
        case $all in
            *$'\n'"$1=$2"$'\n'*) ;;
            *) fail "expected $1=$2, found $(grep "^$1=" <<<"$all")" ;;
        esac
        shift 2
    done
}

# Nothing is left of any container.
no_more() {
    local units
    units=$(systemctl list-units --all --no-legend --plain 't-*.scope' 'richrun-*.scope' 'libpod-*.scope' 'crun-*.scope')
    same 'units that are left' '' "$units"
    same 'groups that are left' '' "$(find /sys/fs/cgroup -type d -name "*$NAME*")"
}

# After a trial that has failed: nothing stays for the next one.
sweep() {
    local id
    for id in $("$RUNTIME" list -q); do "$RUNTIME" delete --force "$id"; done
    for id in $(crun list -q); do crun delete --force "$id"; done
    systemctl stop 't-*.scope' 'libpod-*.scope'
    systemctl reset-failed
}
