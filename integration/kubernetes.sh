#!/bin/sh
# kubernetes.sh TREE WORK TO: builds Kubernetes' servers from Debian bookworm's source
# package, for integration/peers.sh. TREE has Debian's Go, unpacked; WORK is made anew
# and may be removed afterwards; the programs go into TO.
set -eu
tree=$1 work=$2 to=$3
here=$(cd "$(dirname "$0")" && pwd)
source=$work/src/k8s.io/kubernetes
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/archives/partial" "$source"

# Lists and cache of its own: what apt knows of the machine stays as it is.
printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm main\n' \
    "$("$here/mirror.sh")" >"$work/sources.list"
apt() {
    apt-get -q -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$work/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/lists" -o Dir::Cache="$work" "$@"
}
cd "$work"
apt update
apt source --download-only kubernetes
tar -xzf kubernetes_*.orig.tar.gz -C "$source" --strip-components=1

# The source's copy of this library does not know the maps of Go 1.18 and newer.
library=$source/vendor/github.com/modern-go/reflect2
rm "$library"/*.go
cp "$tree"/usr/share/gocode/src/github.com/modern-go/reflect2/*.go "$library"

# All modules are in the source: nothing is fetched.
export GOROOT="$tree/usr/lib/go-1.19" GOPATH="$work" GOCACHE="$work/cache" CGO_ENABLED=0 GO111MODULE=off GOPROXY=off
cd "$source"

# The description of the API is generated.
"$GOROOT/bin/go" build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
inputs=$(grep -rl '+k8s:openapi-gen=' --include='*.go' pkg cmd staging/src/k8s.io |
    grep -v -E '/(code-generator|sample-[a-z]*|generators|testdata|openapi)/' | xargs -n 1 dirname | sort -u |
    sed 's,^staging/src/,vendor/,; s,^,k8s.io/kubernetes/,' | paste -sd , -)
"$work/openapi-gen" -O zz_generated.openapi --go-header-file hack/boilerplate/boilerplate.generatego.txt \
    -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi -o "$work/src" -r "$work/violations"

version=k8s.io/kubernetes/vendor/k8s.io/component-base/version
"$GOROOT/bin/go" build -p "$(nproc)" \
    -ldflags "-s -w -X $version.gitVersion=v1.20.2 -X $version.gitMajor=1 -X $version.gitMinor=20" \
    -o "$to/" ./cmd/kubelet ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler
