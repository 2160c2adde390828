#!/bin/bash
# test.sh [SUITE...]: the tests, one suite after the other; every suite runs
# even if one before it failed, and their own summary lines stand at the end.
#
#   unit          unit tests of all crates, who may import whom, and the compliance table
#   blackbox      the built binary, as root and as an ordinary user, cgroup v1 and v2
#   glibc         the black-box suite once more, with a program that begins with glibc's start
#                 (without the features own-clib and hot-layout)
#   inits         rich-init beside tini, dumb-init and catatonit: the table in docs/inits.md
#   differential  the same bundles and seccomp profiles under runc and crun
#   direct        richctl and rich-monitor: containers without an engine
#   engines       podman, Docker and containerd, natively; and the pages of bundles/examples/
#   systemd       podman, Docker and containerd on a host where systemd manages the cgroups: a Debian
#                 that richrun has booted (SYSTEMD_TRIALS=all for the long ones, SYSTEMD_HOSTS for
#                 which: 'trixie forky' for the newest engines too)
#   package       the Debian package, the programs alone, and what a Kubernetes node gets
#   pods          richctl pod: manifests, probes, the page in a browser
#   kubernetes    pods of a real Kubernetes under containerd (not part of the default:
#                 Debian has its source only, and the first run builds it, in minutes)
#   vm            limits, update, events and podman in a virtual machine (qemu, emulated) whose systemd
#                 and kernel have all controllers, on cgroup v2 and v1 (not part of the default: minutes)
#   vm-short      the trials of it that show most, on cgroup v2; ignored where it cannot be made or does not boot
#   long          what takes minutes: 10 000 runs, every hostile image and the like (not part of the default)
#
# Root installs what is missing (integration/peers.sh; INSTALL=no to leave the
# machine alone). An ordinary user installs nothing: what cannot run then is
# counted as ignored, with the reason.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
# make's own word for another thing: the package's trials run make.
installs=${INSTALL:-yes}
unset INSTALL
suites=("$@")
[ $# -gt 0 ] || suites=(unit blackbox glibc inits differential package direct pods engines systemd vm-short)
logs=build/test
mkdir -p "$logs"
failed=0
summary=()

prepare() {
    if [ "$(id -u)" != 0 ]; then
        echo "not root: nothing is installed, and tests that need the superuser are ignored"
        integration/peers.sh check || true
    elif [ "$installs" = yes ]; then
        integration/peers.sh
        # Where it cannot be had, its trials are ignored, with the reason.
        case " ${suites[*]} " in *' long '*) integration/peers.sh systemd-others || true ;; esac
        case " ${suites[*]} " in *' kubernetes '*) integration/peers.sh kubernetes || true ;; esac
        case " ${SYSTEMD_HOSTS:-} " in *' forky '*) integration/peers.sh host-forky || true ;; esac
        case " ${suites[*]} " in *' vm '* | *' vm-short '*) integration/peers.sh vm || true ;; esac
    fi
}

# suite NAME COMMAND...: runs it, keeps its log, remembers its summary lines, and
# which trials needed a second attempt (a peer's trials, Docker's and containerd's have one).
suite() {
    local name=$1 log=$logs/$1.log start=$SECONDS status line
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    [ "$status" = 0 ] || failed=1
    summary+=("$(printf '%-14s %s, %d s' "$name" "$([ "$status" = 0 ] && echo passed || echo "FAILED ($status)")" $((SECONDS - start)))")
    while IFS= read -r line; do
        summary+=("    $line")
    done < <(grep -E '^test result:.*[1-9][0-9]* (passed|failed|ignored)|failed, and is tried once more: ' "$log")
}

needs_install() {
    case " ${suites[*]} " in *' blackbox '* | *' glibc '* | *' inits '* | *' differential '* | *' direct '* | *' package '* | *' pods '* | *' engines '* | *' systemd '* | *' kubernetes '* | *' vm '* | *' vm-short '*) return 0 ;; esac
    return 1
}

if needs_install; then
    prepare || { echo "test.sh: the machine could not be prepared" >&2; exit 1; }
fi
for name in "${suites[@]}"; do
    case $name in
    unit)
        suite unit cargo test --locked --workspace --exclude richrun-tests --exclude richrun-engines
        suite harness cargo test --locked --package richrun-tests --lib --bins --test layering --test compliance
        ;;
    inits) suite inits cargo test --locked --package richrun-tests --test inits ;;
    glibc)
        target=$PWD/build/glibc
        program=$target/$(rustc -vV | sed -n 's/^host: //p')/release/richrun
        suite build-glibc cargo build --release --locked --package richrun --package rich-init --no-default-features \
            --config 'profile.release.lto="off"' --target-dir "$target"
        # The steps of its start are glibc's, and what follows is the same: tried once is enough.
        suite glibc env RICHRUN="$program" cargo test --locked --package richrun-tests --test blackbox -- \
            --skip hardening::steps --skip hardening::failing_calls --skip hardening::well_known
        ;;
    pods) suite pods cargo test --locked --package richrun-tests --test pods ;;
    package) suite package cargo test --locked --package richrun-tests --test package ;;
    blackbox | differential) suite "$name" cargo test --locked --package richrun-tests --test "$name" ;;
    engines) suite engines cargo test --locked --package richrun-engines --no-fail-fast --lib --test engines --test bundles ;;
    systemd) suite systemd cargo test --locked --package richrun-engines --test systemd ;;
    vm) suite vm integration/vm/run.sh ;;
    vm-short)
        suite vm-short env VM_LAYOUTS=v2 VM_OPTIONAL=yes integration/vm/run.sh limits_hold update_cpu update_memory \
            refused_memory no_limit_again oom_before_the_end ::daemon_reload podman_default
        ;;
    kubernetes) suite kubernetes cargo test --locked --package richrun-engines --test kubernetes ;;
    direct)
        suite build-direct cargo build --profile bundles --locked --package rich-bundles --bins
        # What is killed at random falls out differently each time: in the long suite.
        suite direct cargo test --locked --package richrun-tests --test direct -- --skip storm::
        ;;
    long)
        suite long cargo test --locked --package richrun-tests --test long
        # Other configurations than those of every run: half an hour of them, another range each day.
        suite generated env RICHRUN_SEEDS="$((10000 * ($(date +%s) / 86400))):${GENERATED_SEEDS:-1300}" \
            cargo test --locked --package richrun-tests --test differential -- generated::
        RICHRUN_EVERY_CASE=1 suite hostile cargo test --locked --package richrun-tests --test blackbox -- well_known
        for root in build/rootfs/systemd-*/; do
            [ ! -L "$root/sbin/init" ] || suite "$(basename "$root")" env RICHRUN_SYSTEMD="$PWD/$root" cargo test --locked \
                --package richrun-tests --test blackbox -- boot::systemd
        done
        suite storm env STORM_SECONDS=600 cargo test --locked --package richrun-tests --test direct -- storm::
        ;;
    *)
        echo "test.sh: no suite $name" >&2
        exit 2
        ;;
    esac
done
printf '\n== Summary (logs in %s)\n' "$logs"
printf '%s\n' "${summary[@]}"
exit $failed
