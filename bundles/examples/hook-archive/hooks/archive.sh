#!/bin/sh
# poststop: packs what the container has logged into an archive, and empties the
# directory for the next one.
#
#   archive.sh LOGS ARCHIVE                  directories; relative ones are the bundle's
#
# Reads the state on standard input: the archive is called by the container's
# id and the time. Runs once however the container ended.
set -eu
logs=$1 archive=$2
id=$(tr ',{}' '\n\n\n' | sed -n 's/^ *"id": *"\([^"]*\)" *$/\1/p' | head -n 1)
[ -n "$id" ] || { echo "archive: the state has no id" >&2; exit 1; }
if [ -z "$(ls -A "$logs")" ]; then
    echo "archive: $id has logged nothing"
    exit 0
fi
mkdir -p "$archive"
target=$archive/$id-$(date -u +%Y%m%dT%H%M%S).$$.tar.gz
# Emptied only once the archive is whole.
tar -C "$logs" -czf "$target.part" .
mv "$target.part" "$target"
find "$logs" -mindepth 1 -delete
echo "archive: $target"
