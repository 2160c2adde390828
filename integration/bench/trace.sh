#!/bin/bash
# trace.sh [-c] [-r] [-p] RUNTIME...: where a runtime's `run /bin/true` spends its system calls.
#
#   -c  a table of calls and errors per runtime (default)
#   -r  the whole trace, with the time between calls (strace -f -r), into build/bench/trace-NAME.txt
#   -p  samples of the kernel and of the program while it runs 200 times (perf, cpu-clock)
#
# BUNDLE names the bundle (default build/bench/bundle, made if missing). Runs in
# the view of cgroups it is called in: put integration/v2view before it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
mode=c
while getopts crp option; do
    case $option in c | r | p) mode=$option ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { echo "usage: trace.sh [-c|-r|-p] RUNTIME..." >&2; exit 2; }
out=$top/build/bench
mkdir -p "$out"
bundle=${BUNDLE:-$out/bundle}
[ -e "$bundle/config.json" ] || "$here/bundle.sh" "$bundle"

for runtime in "$@"; do
    name=$(basename "$runtime")
    id=trace-$$
    case $mode in
    c)
        echo "## $name: system calls of run /bin/true"
        strace -f -c -S calls -U calls,errors,name -o "$out/trace-$name.txt" \
            "$runtime" run --bundle "$bundle" "$id"
        cat "$out/trace-$name.txt"
        ;;
    r)
        strace -f -r -T -s 64 -o "$out/trace-$name.txt" "$runtime" run --bundle "$bundle" "$id"
        echo "$(wc -l <"$out/trace-$name.txt") lines in $out/trace-$name.txt; the longest waits:"
        sed -n 's/^\([0-9]*\) *[0-9.]* \(.*\) <\([0-9.]*\)>$/\3 \1 \2/p' "$out/trace-$name.txt" | sort -rn | head -25
        ;;
    p)
        # shellcheck disable=SC2016
        perf record -q -e cpu-clock -F 4000 -o "$out/perf-$name.data" -- sh -c '
            i=0; while [ $i -lt 200 ]; do "$0" run --bundle "$1" "$2-$i" || exit 1; i=$((i + 1)); done' \
            "$runtime" "$bundle" "$id"
        perf report -q -i "$out/perf-$name.data" --no-children --sort comm,symbol --percent-limit 0.7 2>/dev/null | sed "s, *$,," | cut -c1-100 | head -50
        ;;
    esac
done
