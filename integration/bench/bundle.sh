#!/bin/bash
# bundle.sh DIRECTORY: the stock `runc spec` bundle, running /bin/true of a static busybox without a terminal.
set -euo pipefail
bundle=$1
busybox=${BUSYBOX:-$(command -v busybox)}
mkdir -p "$bundle"/rootfs/{bin,dev,etc,proc,sys,tmp}
install -m 755 "$busybox" "$bundle/rootfs/bin/busybox"
for name in true false sh sleep echo cat ps ls; do
    ln -sf busybox "$bundle/rootfs/bin/$name"
done
echo 'root:x:0:0:root:/root:/bin/sh' >"$bundle/rootfs/etc/passwd"
rm -f "$bundle/config.json"
writer=
for candidate in "${RUNC:-runc}" "${RICHRUN:-richrun}" "${CRUN:-crun}"; do
    if command -v "$candidate" >/dev/null; then
        writer=$candidate
        break
    fi
done
[ -n "$writer" ] || { echo "bundle.sh: no runtime to write the stock config.json" >&2; exit 1; }
(cd "$bundle" && "$writer" spec)
jq '.process.terminal = false | .process.args = ["/bin/true"]' "$bundle/config.json" >"$bundle/config.tmp"
mv "$bundle/config.tmp" "$bundle/config.json"
