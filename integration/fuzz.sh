#!/bin/bash
# fuzz.sh [TARGET...]: the fuzz targets of tests/fuzz under libFuzzer, each for FUZZ_SECONDS
# (60), one after the other; what they find is kept in build/fuzz/artifacts. New inputs that
# reach new code are collected in build/fuzz/found, and with FUZZ_KEEP=yes those that the
# committed corpus lacks are added to it, minimised.
#
# Takes a C++ compiler and cargo-fuzz, which it builds below build/ where it is missing. The
# compiler is the stable one; RUSTC_BOOTSTRAP lets it build with AddressSanitizer, whose library
# comes with it (FUZZ_SANITIZER=none for a machine where it does not).
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
out=$PWD/build/fuzz
mkdir -p "$out"
fuzz=$(command -v cargo-fuzz || echo "$out/tool/bin/cargo-fuzz")
[ -x "$fuzz" ] || cargo install --quiet --locked --root "$out/tool" cargo-fuzz
if [ $# -gt 0 ]; then targets=("$@"); else mapfile -t targets < <(ls tests/fuzz/corpus); fi
export CARGO_TARGET_DIR=$out/target
sanitizer=${FUZZ_SANITIZER:-address}
[ "$sanitizer" = none ] || export RUSTC_BOOTSTRAP=1
"$fuzz" build --fuzz-dir tests/fuzz/libfuzzer --sanitizer "$sanitizer"
unset RUSTC_BOOTSTRAP
failed=0
for target in "${targets[@]}"; do
    corpus=tests/fuzz/corpus/$target
    found=$out/found/$target
    mkdir -p "$found" "$out/artifacts/$target"
    program=$(echo "$out"/target/*/release/"$target")
    echo "== $target, $seconds s"
    # An input that takes longer than 10 s, or more than 2 GiB with all that the sanitizer keeps, is a fault too.
    "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$out/artifacts/$target/" \
        "$found" "$corpus" 2>&1 | grep -E 'stat::number_of_executed|ERROR|Test unit|panicked|assert' || true
    [ "${PIPESTATUS[0]}" = 0 ] || { failed=1; echo "$target: see $out/artifacts/$target"; }
    if [ "${FUZZ_KEEP:-no}" = yes ]; then
        "$program" -merge=1 -verbosity=0 "$corpus" "$found" 2>/dev/null || failed=1
    fi
done
exit $failed
