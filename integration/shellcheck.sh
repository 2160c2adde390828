#!/bin/sh
# Every shell script of the repository through shellcheck.
set -eu
cd "$(dirname "$0")/.."
git ls-files | while read -r file; do
    if [ -f "$file" ] && head -c 64 "$file" | head -n 1 | grep -q '^#!.*sh$'; then
        printf '%s\0' "$file"
    fi
done | xargs -0 shellcheck --severity=warning
