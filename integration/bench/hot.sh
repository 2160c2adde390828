#!/bin/bash
# hot.sh: which functions the usual commands run through, as runtime/hot.ld.
#
# A start is paid for by the pages that it touches, so those functions stand
# together in the program (docs/design.md, "Speed"). Run it as root, on x86-64, when
# the launch path has changed much; a name that is gone does no harm.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$PWD/build/hot
bundle=$PWD/build/bench/bundle
mkdir -p "$out"
RICHRUN_SYMBOLS=1 CARGO_TARGET_DIR=$out/target \
    cargo build --release --locked --package richrun
richrun=$(echo "$out"/target/*/release/richrun)
cc -O2 -o "$out/hot" integration/bench/hot.c
[ -e "$bundle/config.json" ] || integration/bench/bundle.sh "$bundle"
rm -f "$out/seen"

export out richrun bundle
for view in v1view v2view; do
    # shellcheck disable=SC2016
    "integration/$view" bash -euc '
        # One processor: the steps of two processes do not get faster by two.
        step() { taskset -c 0 "$out/hot" "$out/seen" "$richrun" "$@"; }
        cd "$bundle"
        sleeping=$out/sleeping-$$
        mkdir -p "$sleeping"
        jq ".process.args = [\"sleep\", \"1000\"] | .root.path = \"$bundle/rootfs\"" config.json >"$sleeping/config.json"
        "$richrun" delete --force hot
        step run hot
        step run --rich hot
        step create --bundle "$sleeping" --pid-file "$sleeping/pid" hot
        step start hot
        step state hot >/dev/null
        step exec hot true
        step kill hot KILL
        step delete --force hot
        rm -r "$sleeping"'
done

# A name without the hash that changes with every compiler and version, where that
# still names one function; with it where it would name all instances of a generic one.
nm "$richrun" | awk '$2 ~ /^[tTwW]$/ { print $1, $3 }' | sort >"$out/symbols"
sed 's/$/ ~/' "$out/seen" | sort -u - "$out/symbols" |
    awk '$2 != "~" { name = $2; next } name != "" { print name; name = "" }' >"$out/names"
awk 'function bare(name) {
         sub(/17h[0-9a-f]+E.*$/, "17h*", name); gsub(/Cs[0-9A-Za-z]+_/, "Cs*_", name)
         sub(/\.llvm\..*$/, "", name)
         return name
     }
     FNR == NR { count[bare($2)]++; next }
     { print (count[bare($1)] > 1) ? $1 : bare($1) }' "$out/symbols" "$out/names" | sort -u >"$out/patterns"
{
    echo "/* The functions of the usual commands, side by side: integration/bench/hot.sh writes this. */"
    # A compiler of another version names generic functions in another way.
    echo "/* Made with $(rustc --version). */"
    echo "SECTIONS"
    echo "{"
    echo "    .text.hot : {"
    sed "s/.*/        *(.text*.&)/" "$out/patterns"
    echo "    }"
    echo "}"
    echo "INSERT BEFORE .text;"
} >runtime/hot.ld
echo "runtime/hot.ld: $(wc -l <"$out/patterns") functions"
