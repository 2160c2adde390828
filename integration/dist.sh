#!/bin/bash
# dist.sh [--twice]: build/dist/richrun-VERSION-TRIPLE.tar.gz of the commit that is checked
# out: the programs, manual pages, completions, documents, the bill of materials of
# everything linked in (CycloneDX), and the archive's checksum beside it.
#
# Made from a copy of the commit, with paths of this machine taken out of the programs and
# the commit's time in the archive: the same commit and compiler give the same bytes,
# wherever they are built. --twice builds in two places and compares.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH RICHRUN_COMMIT=$commit
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed -n 1p)
triple=$(rustc -vV | sed -n 's/^host: //p')
name=richrun-$version-$triple
cargo_home=${CARGO_HOME:-$HOME/.cargo}
tool=$(command -v cargo-cyclonedx || echo "$top/build/tools/bin/cargo-cyclonedx")

# one DIR: the archive of the commit, built below DIR.
one() {
    local dir=$1 source=$1/source stage=$1/$name
    rm -rf "$dir"
    mkdir -p "$source"
    git archive "$commit" | tar -x -C "$source"
    # What .cargo/config.toml asks for, and no path of this machine.
    CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037' -Ctarget-feature=+crt-static -Crelocation-model=static \
        "--remap-path-prefix=$source=/richrun" "--remap-path-prefix=$cargo_home=/cargo")
    CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\037'}
    export CARGO_ENCODED_RUSTFLAGS
    make -s -C "$source" CARGO_TARGET_DIR="$dir/target" all
    unset CARGO_ENCODED_RUSTFLAGS
    make -s -C "$source" CARGO_TARGET_DIR="$dir/target" DESTDIR="$stage" PREFIX= install
    (cd "$source" && "$tool" cyclonedx --quiet --format json --override-filename sbom >/dev/null)
    # A number and a time of its own would make each one another; the commit stands for both.
    for crate in runtime init; do
        jq --arg time "$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)" --arg from "file://$source" \
            'del(.serialNumber) | .metadata.timestamp = $time
             | walk(if type == "string" then gsub($from; "file:///richrun") | gsub($from[7:]; "/richrun") else . end)' \
            "$source/$crate/sbom.json" >"$stage/share/doc/richrun/$crate.cdx.json"
    done
    tar -C "$dir" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --mode=u+rw,go=rX -c "$name" | gzip -9n >"$dir/$name.tar.gz"
}

[ -x "$tool" ] || cargo install --quiet --locked --root "$top/build/tools" cargo-cyclonedx
one "$top/build/dist/first"
if [ "${1:-}" = --twice ]; then
    one "$top/build/dist/and-in-another-place"
    cmp "$top/build/dist/first/$name.tar.gz" "$top/build/dist/and-in-another-place/$name.tar.gz"
    echo "dist: built twice, the same bytes"
fi
mv "$top/build/dist/first/$name.tar.gz" "$top/build/dist/"
cd "$top/build/dist"
sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256"
rm -rf first and-in-another-place
