#!/bin/sh
# run.sh: prepares the peers (as root) and measures: build/bench/results.md.
# RICHRUN is the runtime to measure; RUNS how often (default 60).
set -eu
cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ]; then
    echo "make bench needs root: it measures in private views of cgroup v1 and v2" >&2
    exit 1
fi
[ "${INSTALL:-yes}" != yes ] || integration/peers.sh bench
cargo run --quiet --locked --package richrun-bench -- "$@"
# With arguments only those parts are wanted.
[ $# -gt 0 ] || integration/bench/direct.sh
