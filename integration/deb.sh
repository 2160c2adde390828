#!/bin/bash
# deb.sh [DIR]: richrun_VERSION_ARCH.deb in DIR (build/dist), of the programs that `make build`
# has made: programs, manual pages, completions, documents, examples for every engine, and
# /etc/richrun/config.toml with every setting as a comment. Needs dpkg-deb.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed -n 1p)
arch=$(dpkg --print-architecture)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
maintainer="${DEBFULLNAME:-richrun} <${DEBEMAIL:-packages@richrun.example}>"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"

make -s PREFIX=/usr DESTDIR="$stage" install >/dev/null
doc=$stage/usr/share/doc/richrun
# Where Debian has them.
mkdir -p "$doc/examples" "$stage/etc/richrun" "$stage/usr/share/lintian/overrides"
mv "$doc/integration/setup" "$doc/examples/engines"
mv "$doc/bundles" "$doc/examples/bundles"
rmdir "$doc/integration"
rm "$doc/LICENSE"
install -m 644 build/pages/etc/config.toml "$stage/etc/richrun/config.toml"
gzip -9n "$stage"/usr/share/man/man*/*
gzip -9n "$doc/CHANGELOG.md"
gzip -9nc >"$doc/changelog.gz" <<END
richrun ($version) unstable; urgency=medium

  * What is new: CHANGELOG.md.gz

 -- $maintainer  $(date -u -R -d "@$epoch")
END
cat >"$stage/usr/share/lintian/overrides/richrun" <<END
# On purpose: a runtime starts on any host, whatever its C library, and starts fast.
richrun: statically-linked-binary
END
cat >"$doc/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: richrun

Files: *
Copyright: 2026 The authors of richrun
License: Apache-2.0
 On Debian systems, the full text of the Apache License, version 2.0, can be
 found in the file /usr/share/common-licenses/Apache-2.0.
END

mkdir "$stage/DEBIAN"
echo /etc/richrun/config.toml >"$stage/DEBIAN/conffiles"
size=$(du -sk --exclude=DEBIAN "$stage" | cut -f1)
cat >"$stage/DEBIAN/control" <<END
Package: richrun
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $size
Recommends: uidmap
Suggests: podman, containerd, docker.io
Section: admin
Priority: optional
Description: container runtime that brings its own init
 richrun runs OCI bundles: a drop-in for runc under podman, containerd, Docker
 and CRI-O, and usable on a bundle directly.
 .
 Rich containers get an init of richrun's own (or their image's systemd), with
 services, probes and hooks, without anything added to the image.
END
(cd "$stage" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
find "$stage" -exec touch --no-dereference --date="@$epoch" {} +
mkdir -p "$out"
SOURCE_DATE_EPOCH=$epoch dpkg-deb --build --root-owner-group -Zxz "$stage" "$out/richrun_${version}_$arch.deb" >/dev/null
echo "$out/richrun_${version}_$arch.deb"
