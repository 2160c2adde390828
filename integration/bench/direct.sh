#!/bin/bash
# direct.sh: what richctl costs: build/bench/direct.md. RICHRUN is the runtime, richctl and
# rich-monitor are in target's profile `bundles` (make build), or RICHCTL; RUNS how often (40).
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
triple=$(rustc -vV | sed -n 's/^host: //p')
richrun=${RICHRUN:-$here/target/$triple/release/richrun}
richctl=${RICHCTL:-$here/target/$triple/bundles/richctl}
runs=${RUNS:-40}
place=$(mktemp -d /tmp/richctl-bench-XXXXXX)
mkdir -p "$place/bin" build/bench
cp "$richrun" "$place/bin/richrun"
cp "$richctl" "$(dirname "$richctl")/rich-monitor" "$place/bin/"
trap '"$place/bin/richctl" --root "$place/c" rm --all --force >/dev/null 2>&1; rm -rf "$place"' EXIT
bundles/examples/make-rootfs.sh "$place/rootfs" >/dev/null
ctl() { "$place/bin/richctl" --root "$place/c" "$@"; }

mkdir "$place/bundle"
"$place/bin/richrun" spec --no-terminal -b "$place/bundle" -- true
ln -s "$place/rootfs" "$place/bundle/rootfs"

# The median of the times of a command, in microseconds.
median() {
    local at start end
    for ((at = 0; at < runs; at++)); do
        start=${EPOCHREALTIME/./}
        "$@" </dev/null >/dev/null 2>&1
        end=${EPOCHREALTIME/./}
        echo $((end - start))
    done | sort -n | sed -n "$((runs / 2 + 1))p"
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
ms() { awk -v a="$1" 'BEGIN { printf "%.1f ms", a / 1000 }'; }

runtime_run() { "$place/bin/richrun" --root "$place/r" run -b "$place/bundle" bench; }
direct_run() { ctl run --rm "$place/rootfs" true; }
podman_run() { podman --runtime "$place/bin/richrun" run --rm --network none --rootfs "$place/rootfs" true; }

run=$(median runtime_run)
direct=$(median direct_run)
ctl run -d --name bench "$place/rootfs" sleep 1000 >/dev/null
id=$(ctl inspect -f '{{.Id}}' bench)
plain_exec=$(median "$place/bin/richrun" --root "$place/c/run/runtime" exec "$id" true)
direct_exec=$(median ctl exec bench true)
monitor=$(ctl inspect -f '{{.State.Monitor}}' bench)
private=$(awk '/^Private_Dirty/ { sum += $2 } END { print sum }' "/proc/$monitor/smaps_rollup")
{
    echo '| what | richctl | beside | ratio | wanted |'
    echo '|---|---|---|---|---|'
    echo "| \`run --rm ROOTFS true\` | $(ms "$direct") | $(ms "$run") richrun run | $(ratio "$direct" "$run") | 1.5 |"
    if command -v podman >/dev/null && podman_run >/dev/null 2>&1; then
        runs=10
        podman=$(median podman_run)
        runs=${RUNS:-40}
        echo "| the same | $(ms "$direct") | $(ms "$podman") podman run | $(ratio "$direct" "$podman") | 0.1 |"
    fi
    echo "| \`exec\` | $(ms "$direct_exec") | $(ms "$plain_exec") richrun exec | $(ratio "$direct_exec" "$plain_exec") | 1.5 |"
    echo "| memory of a monitor | $private KiB | conmon 270, containerd's shim 11 000 | | 500 |"
} >build/bench/direct.md
for ((at = 1; at < ${CONTAINERS:-300}; at++)); do
    ctl run -d "$place/rootfs" sleep 1000 >/dev/null
done
status=$(median ctl list)
echo "| status of ${CONTAINERS:-300} containers | $(ms "$status") | | | 50 ms |" >>build/bench/direct.md
cat build/bench/direct.md
