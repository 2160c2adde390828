#!/bin/bash
# mutants.sh: changes the code of the plan and of the configuration's readers in small ways, one at a
# time, and runs the unit tests on each (without the random ones, which take most of the time). A change that no test notices is printed: either a test is
# missing, or the change means nothing.
#
#   MUTANTS_FILES="FILE..."   which files (by default those that grant or refuse something)
#   MUTANTS_SECONDS=N         ends after that time, with what was found until then (3600)
#
# cargo-mutants is installed below target/tools where it is missing. Works on a copy of the tree; the
# lists are in build/mutants/mutants.out. What was tried is in docs/design.md, "Where things stand".
set -euo pipefail
cd "$(dirname "$0")/.."
tools=${CARGO_TARGET_DIR:-target}/tools
plan=runtime/src/plan config=runtime/src/config
read -ra files <<<"${MUTANTS_FILES:-$plan/grant.rs $config/trust.rs $config/validate.rs $plan/process.rs $plan/exec.rs \
    $plan/devices.rs $plan/mounts.rs $plan/mount_options.rs $plan/namespaces.rs $plan/id_ranges.rs $plan/cgroup/owner.rs}"
if ! PATH=$tools/bin:$PATH command -v cargo-mutants >/dev/null; then
    nice cargo install cargo-mutants --locked --root "$tools"
fi
export PATH=$PWD/$tools/bin:$PATH
mkdir -p build/mutants
chosen=()
for file in "${files[@]}"; do
    chosen+=(--file "$file")
done
status=0
nice -n 15 timeout --signal INT "${MUTANTS_SECONDS:-3600}" \
    cargo mutants --package richrun "${chosen[@]}" --output build/mutants --jobs 1 --timeout 300 \
    --cargo-arg=--locked -- --lib -- --skip random || status=$?
for list in missed timeout; do
    if [ -s "build/mutants/mutants.out/$list.txt" ]; then
        echo "== $list"
        cat "build/mutants/mutants.out/$list.txt"
    fi
done
# 2 and 3 are survivors and time-outs, 124 the end of the time: they are read, not failed on.
case $status in 0 | 2 | 3 | 124 | 130) ;; *) exit "$status" ;; esac
