#!/bin/bash
# audit.sh: licences, sources and banned crates of all that is linked in (deny.toml), and
# known faults of them, by the advisory database where there is one (ADVISORY_DB, or
# cargo-deny's own place; it is not fetched here). cargo-deny is built below build/ where it
# is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v cargo-deny || echo "$PWD/build/tools/bin/cargo-deny")
# 0.18 is the last that the oldest compiler named in Cargo.toml builds.
[ -x "$tool" ] || cargo install --quiet --locked --root build/tools --version '^0.18' cargo-deny
"$tool" --locked check --hide-inclusion-graph licenses bans sources
db=${ADVISORY_DB:-${CARGO_HOME:-$HOME/.cargo}/advisory-dbs}
if [ -d "$db" ]; then
    "$tool" --locked check --hide-inclusion-graph --disable-fetch advisories
else
    echo "audit: no advisory database in $db: known faults of crates were not looked for"
fi
