#!/bin/sh
# Prints the address of the mirror that apt itself uses for Debian's main archive.
set -eu
list() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1
}
command -v apt-get >/dev/null || { echo 'mirror: there is no apt here' >&2; exit 1; }
uri=$(list)
if [ -z "$uri" ] && [ "$(id -u)" = 0 ]; then
    apt-get -q -o DPkg::Lock::Timeout=600 update >&2
    uri=$(list)
fi
[ -n "$uri" ] || { echo "mirror: apt knows no Debian archive: run 'apt-get update'" >&2; exit 1; }
printf '%s\n' "$uri"
