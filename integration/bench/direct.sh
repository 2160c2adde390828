#!/bin/bash
# direct.sh: what richctl costs, beside the runtime alone, podman and containerd's shim:
# build/bench/direct.md. As root. RICHRUN is the runtime, richctl and rich-monitor are in
# target's profile `bundles` (make build), or RICHCTL; RUNS how often (40), CONTAINERS (300)
# and PODS (100) how many. All that is compared is measured in turns; ratios are of the tenth
# percentiles, which other work on the machine moves least. Who is not installed has a dash.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
triple=$(rustc -vV | sed -n 's/^host: //p')
richrun=${RICHRUN:-$here/target/$triple/release/richrun}
richctl=${RICHCTL:-$here/target/$triple/bundles/richctl}
runs=${RUNS:-40} containers=${CONTAINERS:-300} pods=${PODS:-100}
place=$(mktemp -d /tmp/richctl-bench-XXXXXX)
mkdir -p "$place/bin" "$place/bundle" build/bench
cp "$richrun" "$place/bin/richrun"
cp "$richctl" "$(dirname "$richctl")/rich-monitor" "$place/bin/"
bundles/examples/make-rootfs.sh "$place/rootfs" >/dev/null
"$place/bin/richrun" spec --no-terminal -b "$place/bundle" -- true
ln -s "$place/rootfs" "$place/bundle/rootfs"

ctl() { "$place/bin/richctl" --root "$place/c" "$@"; }
pod() {
    podman --root "$place/p" --runroot "$place/pr" --storage-driver vfs --runtime "$place/bin/richrun" "$@"
}
inside() { pod run --ulimit nofile=1024 --ulimit nproc=1024 --network none "$@"; }
shim() { ctr --address "$place/containerd.sock" "$@"; }
containerd=
end() {
    ctl rm --all --force
    for ((at = 1; at <= pods; at++)); do ctl pod rm --force "bench$at"; done
    if [ -d "$place/p" ]; then pod rm --all --force --time 0; fi
    if [ -n "$containerd" ]; then
        shim task rm --force bench1 bench2
        kill "$containerd" && wait "$containerd"
    fi
    rm -rf "$place"
}
trap 'end >/dev/null 2>&1 || :' EXIT

# Runs functions in turns; LOW of each is the tenth percentile of its times in microseconds.
declare -A LOW
turns() {
    local at name start
    for ((at = 0; at < runs; at++)); do
        for name; do
            start=${EPOCHREALTIME/./}
            "$name" </dev/null >/dev/null 2>&1
            echo $((${EPOCHREALTIME/./} - start)) >>"$place/times.$name"
        done
    done
    for name; do LOW[$name]=$(sort -n "$place/times.$name" | sed -n "$((runs / 10 + 1))p"); done
}
# Memory that processes have beside their programs' files, KiB; what a fork shares counts once.
own() {
    local pid
    for pid; do cat "/proc/$pid/smaps_rollup"; done | awk '/^Pss_Anon/ { sum += $2 } END { print sum }'
}
# row WHAT OURS UNIT BESIDE THEIRS WANTED: a row; without THEIRS, dashes.
row() {
    awk -v OFS=' | ' -v what="$1" -v ours="$2" -v unit="$3" -v beside="$4" -v theirs="$5" -v wanted="$6" 'BEGIN {
        print "| " what, ours " " unit, beside, (theirs == "" ? "-" : theirs " " unit),
            (theirs == "" ? "-" : sprintf("%.2f", ours / theirs)), wanted " |"
    }' | tee -a build/bench/direct.md
}
times() { row "$1" "$(awk -v us="${LOW[$2]}" 'BEGIN { printf "%.1f", us / 1000 }')" ms "$3" \
    "$(awk -v us="${LOW[$4]:-}" 'BEGIN { if (us) printf "%.1f", us / 1000 }')" "$5"; }

runtime_run() { "$place/bin/richrun" --root "$place/r" run -b "$place/bundle" bench; }
direct_run() { ctl run --rm "$place/rootfs" true; }
podman_run() { inside --rm --rootfs "$place/rootfs" true; }
runtime_exec() { "$place/bin/richrun" --root "$place/c/run/runtime" exec "$id" true; }
direct_exec() { ctl exec bench1 true; }
podman_exec() { pod exec bench1 true; }

echo '| what | richctl | beside | theirs | ratio | wanted |
|---|---|---|---|---|---|' | tee build/bench/direct.md
for at in 1 2; do ctl run -d --name bench$at "$place/rootfs" sleep 100000 >/dev/null; done
id=$(ctl inspect -f '{{.Id}}' bench1)
peers=() conmon='' containerds=''
if command -v podman >/dev/null && podman_run >/dev/null 2>&1; then
    peers=(podman_run podman_exec)
    for at in 1 2; do inside -d --name bench$at --rootfs "$place/rootfs" sleep 100000 >/dev/null; done
    conmon=$(own "$(cat "$(pod inspect --format '{{.ConmonPidFile}}' bench1)")")
fi
if command -v containerd ctr >/dev/null; then
    printf 'version = 2\nroot = "%s"\nstate = "%s"\n[grpc]\naddress = "%s"\n' \
        "$place/d" "$place/ds" "$place/containerd.sock" >"$place/containerd.toml"
    containerd --config "$place/containerd.toml" >/dev/null 2>&1 &
    containerd=$!
    for ((at = 0; at < 300; at++)); do
        if shim version >/dev/null 2>&1; then break; fi
        sleep 0.1
    done
    for at in 1 2; do
        shim run -d --null-io --rootfs --runc-binary "$place/bin/richrun" "$place/rootfs" bench$at /bin/sleep 100000
    done
    containerds=$(own "$(pgrep -f "containerd-shim.*-id bench1 -address $place")")
fi
turns runtime_run direct_run runtime_exec direct_exec "${peers[@]}"
times "\`run --rm ROOTFS true\`" direct_run 'richrun run' runtime_run 1.5
times 'the same' direct_run 'podman run' podman_run 0.1
times "\`exec\`" direct_exec 'richrun exec' runtime_exec 1.5
times 'the same' direct_exec 'podman exec' podman_exec 0.1
monitor=$(ctl inspect -f '{{.State.Monitor}}' bench1)
read -ra keeper < <(pgrep -P "$monitor" rich-keeper || :) || :
memory=$(own "$monitor" "${keeper[@]}")
row 'memory of who holds a container' "$memory" KiB conmon "$conmon" '500 KiB'
row 'the same' "$memory" KiB "containerd's shim" "$containerds" -

# Pods, and what their probes take of a core: by the CPU time of all control groups.
group=/sys/fs/cgroup counter=cpu.stat
[ -e $group/cgroup.controllers ] || group=/sys/fs/cgroup/cpuacct counter=cpuacct.usage
# Microseconds: v2 says them with a word before, v1 has nanoseconds.
spent() {
    cat $group/richctl-bench/$counter $group/default_bench*_main/$counter |
        awk '$1 == "usage_usec" { sum += $2 } NF == 1 { sum += $1 / 1000 } END { printf "%.0f", sum }'
}
manifest='apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: ROOTFS
    command: [sleep, "100000"]
    livenessProbe: {exec: {command: [/bin/true]}, periodSeconds: 10}'
mkdir $group/richctl-bench
echo $$ >$group/richctl-bench/cgroup.procs
start=${EPOCHREALTIME/./}
for ((at = 1; at <= pods; at++)); do
    text=${manifest/NAME/bench$at}
    echo "${text/ROOTFS/$place/rootfs}" >"$place/pod.yaml"
    ctl pod run --detach --network none "$place/pod.yaml" >/dev/null
done
up=$(awk -v n="$pods" -v us=$((${EPOCHREALTIME/./} - start)) 'BEGIN { printf "%.0f", n / us * 1e6 }')
row 'pods up' "$up" 'a second' - '' -
sleep 12
from=$(spent)
sleep 30
row "probes of $pods pods, one program each 10 s" \
    "$(awk -v us=$(($(spent) - from)) 'BEGIN { printf "%.2f", us / 300000 }')" '% of a core' - '' 1
echo $$ >$group/cgroup.procs
for ((at = 1; at <= pods; at++)); do ctl pod rm --force "bench$at" >/dev/null; done
rmdir $group/richctl-bench

for ((at = 2; at < containers; at++)); do ctl run -d "$place/rootfs" sleep 100000 >/dev/null; done
list() { ctl list; }
inspect() { ctl inspect bench1; }
runs=10 turns list inspect
times "\`list\` of $containers containers" list - '' 50
times "\`inspect\` among $containers" inspect - '' 50
