#!/bin/bash
# demo.sh: a rich container, step by step, as root or as an ordinary user.
# Needs nothing but what `make demo` built: the root file system is made of the
# project's own static programs, and of busybox where a static one is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
richrun=$(realpath "${RICHRUN:?the runtime: run make demo}")
programs=$(realpath "${DEMO_PAYLOAD:-$(dirname "$richrun")/demo-payload}")
here=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/richrun-demo.XXXXXX")
box=$work/box
state=$work/state
id=demo-$$
bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi

number=0
step() {
    number=$((number + 1))
    printf '\n%s%d. %s%s\n' "$bold" $number "$1" "$plain"
}
note() { printf '   %s\n' "$*"; }
indent() { sed -u 's/^/   | /'; }
# Shows a command the way one would type it, runs it, and indents what it prints.
rr() {
    printf '   $ richrun %s\n' "${*//$work\//}"
    "$richrun" --root "$state" "$@" 2>&1 | indent
}
clean() {
    for name in "$id" "$id-plain"; do
        "$richrun" --root "$state" delete --force "$name" >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap clean EXIT
# Waits until a file has a line; gives up after ten seconds.
await() {
    for _ in $(seq 200); do
        if grep -q "$2" "$1" 2>/dev/null; then return; fi
        sleep 0.05
    done
    echo "demo: '$2' did not appear in ten seconds; there is:" >&2
    cat "$1" >&2
    exit 1
}
is_static() { ! head -c 8192 "$1" | grep -q -e 'ld-linux' -e 'ld-musl'; }

make_root() {
    local busybox name
    mkdir -p "$box"/rootfs/{bin,dev,etc,proc,sys,tmp}
    chmod 755 "$work" "$box" "$box/rootfs"
    cp "$programs" "$box/rootfs/bin/payload"
    busybox=$(command -v busybox || true)
    if [ -n "$busybox" ] && is_static "$busybox"; then
        cp "$busybox" "$box/rootfs/bin/busybox"
        for name in sh ps true; do ln -s busybox "$box/rootfs/bin/$name"; done
        note "box/rootfs: our own payload, and busybox for ps and sh ($(du -sh "$box/rootfs" | cut -f1))"
    else
        for name in ps true; do ln -s payload "$box/rootfs/bin/$name"; done
        note "box/rootfs: our own static programs only ($(du -sh "$box/rootfs" | cut -f1))"
    fi
}

# The stock configuration, with another command and no terminal.
configure() {
    sed -e 's/"terminal": true/"terminal": false/' -e "s,^\\([[:space:]]*\\)\"sh\"\$,\\1\"$1\"," "$box/stock.json" >"$box/config.json"
    grep -q "\"$1\"" "$box/config.json" || { echo "demo: the stock config.json has no \"sh\"" >&2; exit 1; }
}

step "A bundle: a root file system and a config.json; no image, no registry"
make_root
if [ "$(id -u)" = 0 ]; then
    rr spec --bundle "$box"
else
    rr spec --rootless --bundle "$box"
fi
mv "$box/config.json" "$box/stock.json"
configure /bin/payload
note 'config.json: process.args is ["/bin/payload"], terminal is false'

step "Run it rich: rich-init is PID 1, the payload its child"
note "\$ richrun run --rich --bundle box $id &"
"$richrun" --root "$state" run --rich --bundle "$box" "$id" >"$work/rich.log" 2>&1 &
runner=$!
await "$work/rich.log" "left an orphan"
indent <"$work/rich.log"
rr exec "$id" ps -o pid,ppid,stat,args
note "The orphan's own parent ended; PID 1 has adopted it."

step "The orphan ends: rich-init reaps it"
sleep 1.7
rr exec "$id" ps -o pid,ppid,stat,args

step "The same without --rich: the payload is PID 1, and the dead stay as zombies (Z)"
"$richrun" --root "$state" run --bundle "$box" "$id-plain" >"$work/plain.log" 2>&1 &
plain_runner=$!
await "$work/plain.log" "left an orphan"
sleep 1.7
rr exec "$id-plain" ps -o pid,ppid,stat,args
rr kill "$id-plain" KILL
wait "$plain_runner" || true

step "TERM reaches the payload, its helper may finish, and its exit code comes out"
lines=$(wc -l <"$work/rich.log")
rr kill "$id" TERM
code=0
wait "$runner" || code=$?
tail -n +$((lines + 1)) "$work/rich.log" | indent
note "exit code of richrun run: $code (the payload said 7)"
[ "$code" = 7 ] || { echo "demo: the exit code should be 7" >&2; exit 1; }
grep -q finished "$work/rich.log" || { echo "demo: the helper did not finish" >&2; exit 1; }
rr list

step "Start-up: run /bin/true, median of 20"
configure /bin/true
view=()
if [ "$(id -u)" = 0 ] && "$here/integration/v2view" true 2>/dev/null; then
    view=("$here/integration/v2view")
fi
# measure NAME PROGRAM [OPTION...]: one line of the table.
measure() {
    local name=$1 program=$2 figure
    shift 2
    if figure=$("${view[@]}" "$programs" median "$program" --root "$state-$(basename "$program")" run "$@" \
        --bundle "$box" "$id-time" 2>&1); then
        printf '   %-16s %s\n' "$name" "$figure"
    else
        printf '   %-16s cannot run this bundle here: %s\n' "$name" "${figure##*: }"
    fi
}
measure richrun "$richrun"
measure "richrun --rich" "$richrun" --rich
for peer in crun runc; do
    program=$here/build/peers/bin/$peer
    [ -x "$program" ] || program=$(PATH=$PATH:/usr/sbin command -v $peer) || continue
    measure $peer "$program"
done
printf '\nDone. Everything was in %s, which is removed now.\n' "$work"
