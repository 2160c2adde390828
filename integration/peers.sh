#!/bin/sh
# Prepares what the tests and benchmarks compare richrun with: the peers
# (runc, crun old and new, CRIU, tini, dumb-init, catatonit, s6, supervisord,
# systemd-nspawn, youki), the engines (podman, containerd, Docker, Kubernetes) and an
# ordinary user for the rootless tests.
#
#   integration/peers.sh            all that the tests need
#   integration/peers.sh bench      all that `make bench` needs, but youki
#   integration/peers.sh packages   Debian's packages
#   integration/peers.sh crun       Debian trixie's crun, into PEERS_DIR/bin/crun
#   integration/peers.sh criu       Debian forky's CRIU, into PEERS_DIR/criu: for checkpoint and restore
#   integration/peers.sh user       the ordinary user TEST_USER, with a subuid and subgid range
#   integration/peers.sh systemd    a Debian with systemd, into build/rootfs/systemd
#   integration/peers.sh systemd-others   Debians with other versions of it, into build/rootfs/systemd-*
#   integration/peers.sh nspawn     Debian trixie's systemd-nspawn, into PEERS_DIR/bin/systemd-nspawn
#   integration/peers.sh inits      what runs as PID 1 elsewhere, into build/rootfs/inits
#   integration/peers.sh docker     Debian trixie's Docker, unpacked into PEERS_DIR/docker: nothing starts
#   integration/peers.sh sysv       one with SysV's init and scripts, into build/rootfs/sysv
#   integration/peers.sh host       one with systemd and today's engines, into build/rootfs/host: what a machine
#                                   of the systemd tests boots
#   integration/peers.sh host-forky the same with the newest engines, of Debian's next release; on request,
#                                   since that archive moves and may have nothing that fits together
#   integration/peers.sh openrc     one with SysV's init and OpenRC, into build/rootfs/openrc
#   integration/peers.sh youki      youki by `cargo install` (about 4 minutes), into PEERS_DIR/bin/youki
#   integration/peers.sh kubernetes Debian bookworm's Kubernetes, into PEERS_DIR/kubernetes: the client
#                                   unpacked, the rest built from Debian's source (minutes, 5 GB for a while)
#   integration/peers.sh vm         qemu and the image of the virtual machine, into build/vm
#   integration/peers.sh check      what is there and what is missing; changes nothing
#
# Idempotent: what is there is left alone. It never asks a question. Without
# root it installs nothing, says what is missing, and exits 1 if anything is.
#
# PEERS_DIR  where built peers go (default: build/peers of this repository)
# TEST_USER  the ordinary user (default: richrun-test)
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
peers=${PEERS_DIR:-$here/build/peers}
user=${TEST_USER:-richrun-test}
lock=/run/lock/richrun-peers.lock

# A package, and a file that shows it is there. Some programs come from other
# packages on some machines, so the file decides and not the package database.
packages='
runc                        /usr/sbin/runc
crun                        /usr/bin/crun
tini                        /usr/bin/tini
dumb-init                   /usr/bin/dumb-init
catatonit                   /usr/bin/catatonit
busybox-static              /usr/bin/busybox
hyperfine                   /usr/bin/hyperfine
strace                      /usr/bin/strace
jq                          /usr/bin/jq
gdb                         /usr/bin/gdb
uidmap                      /usr/bin/newuidmap
skopeo                      /usr/bin/skopeo
docker-registry             /usr/bin/docker-registry
podman                      /usr/bin/podman
conmon                      /usr/bin/conmon
containerd                  /usr/bin/containerd
slirp4netns                 /usr/bin/slirp4netns
fuse-overlayfs              /usr/bin/fuse-overlayfs
containernetworking-plugins /usr/lib/cni/bridge
iptables                    /usr/sbin/iptables
nftables                    /usr/sbin/nft
iproute2                    /usr/bin/ip
mmdebstrap                  /usr/bin/mmdebstrap
passt                       /usr/bin/pasta
chromium                    /usr/bin/chromium
patchelf                    /usr/bin/patchelf
libseccomp-dev              /usr/include/seccomp.h
curl                        /usr/bin/curl
gcc                         /usr/bin/gcc
make                        /usr/bin/make
lintian                     /usr/bin/lintian
'

say() { printf 'peers: %s\n' "$*"; }
fail() { printf 'peers: %s\n' "$*" >&2; exit 1; }

missing_packages() {
    printf '%s' "$packages" | while read -r package file; do
        [ -z "$package" ] || [ -e "$file" ] || printf '%s ' "$package"
    done
}

as_root() {
    [ "$(id -u)" = 0 ] || fail "$1 needs root: run 'sudo integration/peers.sh $2'"
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
        -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef "$@"
}

install_packages() {
    missing=$(missing_packages)
    if [ -z "$missing" ]; then
        say "packages: all there"
        return
    fi
    as_root "installing $missing" packages
    command -v apt-get >/dev/null || fail "no apt-get here; install by hand: $missing"
    say "packages: installing $missing"
    # An old list of packages is tried first: it is there in most CI images.
    # shellcheck disable=SC2086
    apt install --no-install-recommends $missing >/dev/null 2>&1 || {
        apt update
        # shellcheck disable=SC2086
        apt install --no-install-recommends $missing
    }
    missing=$(missing_packages)
    [ -z "$missing" ] || fail "packages: still missing after the installation: $missing"
    say "packages: all there"
}

# Programs of Debian's next release, with the libraries they came with: the stable
# crun is too old to compare with (no cgroup v2 without CAP_SYS_RESOURCE), the
# stable Docker knows no `--annotation`, and systemd-nspawn as a package would
# upgrade the machine's own systemd.
#
# unpack NAME PACKAGES TREE [SUITE]: the packages and what they need, into PEERS_DIR/TREE.
unpack() {
    name=$1 tree=$peers/$3 suite=${4:-trixie}
    as_root "unpacking $suite's $name" "$name"
    for tool in mmdebstrap patchelf; do
        command -v $tool >/dev/null || fail "$name: $tool is missing: run 'integration/peers.sh packages'"
    done
    say "$name: unpacking $suite's"
    mkdir -p "$peers/bin"
    rm -rf "$tree"
    # A mirror that is kept as it was on some day is as good.
    mmdebstrap --quiet --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' --include="$2" \
        "$suite" "$tree" "$("$here/integration/mirror.sh")" 2>"$peers/mmdebstrap.log" || {
        tail -n 5 "$peers/mmdebstrap.log" >&2
        fail "$name: mmdebstrap failed (log: $peers/mmdebstrap.log)"
    }
    libraries=$(dirname "$(find "$tree/usr/lib" -name libc.so.6 | head -n 1)")
    loader=$(find "$libraries" -maxdepth 1 -name 'ld-linux*.so.*' | head -n 1)
}

# adopt FROM TO: a program of the tree unpacked last, which finds its own libraries there.
adopt() {
    cp "$tree/usr/$1" "$2.new"
    if [ -n "$(patchelf --print-needed "$2.new" 2>/dev/null)" ]; then
        patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries:$libraries/systemd" "$2.new"
    fi
    mv "$2.new" "$2"
}

# unpack_one NAME PACKAGE TREE PROGRAM: one program, into PEERS_DIR/bin.
unpack_one() {
    if ! "$peers/bin/$4" --version >/dev/null 2>&1; then
        unpack "$1" "$2" "$3"
        adopt "bin/$4" "$peers/bin/$4"
        "$peers/bin/$4" --version >/dev/null || fail "$1: the unpacked one does not run here"
    fi
    say "$1: $("$peers/bin/$4" --version | head -n 1) in $peers/bin"
}

install_crun() { unpack_one crun crun trixie crun; }

# Checkpoint and restore. The next release's: bookworm's 3.17 does not know the
# vDSO of kernels since 6.16 ("Unexpected rt vDSO area bounds"). Its program is left as it is and called by
# the loader it came with: CRIU writes its own code into other processes, and looks for it in its file.
install_criu() {
    criu=$peers/criu
    if ! "$criu/criu" --version >/dev/null 2>&1; then
        unpack criu criu forky-criu forky
        rm -rf "$criu" "$criu.new"
        mkdir "$criu.new"
        printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' \
            "$loader" "$libraries" "$tree/usr/sbin/criu" >"$criu.new/criu"
        chmod 755 "$criu.new/criu"
        "$criu.new/criu" --version >/dev/null || fail "criu: the unpacked one does not run here"
        rm -rf "${tree:?}/usr/share"
        mv "$criu.new" "$criu"
    fi
    say "criu: $("$criu/criu" --version | head -n 1) in $criu"
}

install_nspawn() { unpack_one nspawn systemd-container trixie-nspawn systemd-nspawn; }

# Inits and supervisors to measure as PID 1. Unpacked, not installed: supervisor's
# package would start its daemon here. Python's modules are compiled, as that
# package's installation does.
install_inits() {
    root=$here/build/rootfs/inits
    if [ -e "$root/usr/bin/supervisord" ]; then
        say "inits: in $root"
        return
    fi
    as_root "making a root file system with inits" inits
    command -v mmdebstrap >/dev/null || fail "inits: mmdebstrap is missing: run 'integration/peers.sh packages'"
    say "inits: making a root file system"
    rm -rf "$root.new"
    mkdir -p "$here/build/rootfs"
    mmdebstrap --quiet --variant=extract --include=tini,dumb-init,catatonit,s6,supervisor,busybox-static \
        trixie "$root.new" "$("$here/integration/mirror.sh")" 2>"$here/build/rootfs/mmdebstrap.log" || {
        tail -n 5 "$here/build/rootfs/mmdebstrap.log" >&2
        fail "inits: mmdebstrap failed (log: $here/build/rootfs/mmdebstrap.log)"
    }
    for name in bin sbin lib lib64; do
        [ -e "$root.new/$name" ] || ln -s "usr/$name" "$root.new/$name"
    done
    for name in sh sleep true; do
        [ -e "$root.new/usr/bin/$name" ] || ln -s busybox "$root.new/usr/bin/$name"
    done
    mkdir -p "$root.new/dev" "$root.new/proc" "$root.new/sys" "$root.new/bench"
    chroot "$root.new" /usr/bin/python3 -m compileall -q /usr/lib/python3 /usr/lib/python3.* >/dev/null ||
        fail "inits: Python's modules in $root.new cannot be compiled"
    mv "$root.new" "$root"
    say "inits: in $root"
}

# Installed as a package Docker would start its daemon and make a bridge of its
# own; the tests start one in a sandbox, so its programs are all that is needed.
install_docker() {
    if ! "$peers/docker/containerd" --version >/dev/null 2>&1; then
        unpack docker docker.io,docker-cli trixie-docker
        rm -rf "$peers/docker" "$peers/docker.new"
        mkdir "$peers/docker.new"
        for program in sbin/dockerd sbin/docker-proxy bin/docker bin/containerd bin/containerd-shim-runc-v2; do
            adopt "$program" "$peers/docker.new/${program#*/}"
        done
        ln -s /usr/bin/tini-static "$peers/docker.new/docker-init"
        for program in dockerd docker containerd; do
            "$peers/docker.new/$program" --version >/dev/null || fail "docker: the unpacked $program does not run here"
        done
        rm -rf "${tree:?}/usr/bin" "${tree:?}/usr/sbin" "${tree:?}/usr/share"
        mv "$peers/docker.new" "$peers/docker"
    fi
    say "docker: $("$peers/docker/dockerd" --version) in $peers/docker"
}

# Debian packs Kubernetes' client only, but its source package is whole, with all that
# it needs, and Debian's Go builds it.
install_kubernetes() {
    kubernetes=$peers/kubernetes
    if ! "$kubernetes/kubelet" --version >/dev/null 2>&1; then
        unpack kubernetes kubernetes-client,etcd-server,golang-1.19-go,golang-github-modern-go-reflect2-dev \
            bookworm-kubernetes bookworm
        rm -rf "$kubernetes.new"
        mkdir "$kubernetes.new"
        for program in kubectl etcd; do
            adopt "bin/$program" "$kubernetes.new/$program"
        done
        "$kubernetes.new/kubectl" version --client >/dev/null || fail "kubernetes: the unpacked kubectl does not run here"
        "$kubernetes.new/etcd" --version >/dev/null || fail "kubernetes: the unpacked etcd does not run here"
        say "kubernetes: building it (10 minutes)"
        "$here/integration/kubernetes.sh" "$tree" "$peers/kubernetes-build" "$kubernetes.new" >"$peers/kubernetes.log" 2>&1 || {
            tail -n 5 "$peers/kubernetes.log" >&2
            fail "kubernetes: it cannot be built (log: $peers/kubernetes.log)"
        }
        rm -rf "$tree" "$kubernetes" "$peers/kubernetes-build"
        mv "$kubernetes.new" "$kubernetes"
    fi
    say "kubernetes: $("$kubernetes/kubelet" --version) in $kubernetes"
}

# What boots in the tests of rich containers with another PID 1: NAME PACKAGE...
install_root() {
    name=$1
    shift
    root=$here/build/rootfs/$name
    # Its own link need not lead anywhere here.
    if [ -e "$root/usr/sbin/init" ] || [ -L "$root/sbin/init" ]; then
        say "$name: in $root"
        return
    fi
    as_root "making a root file system with $name" "$name"
    command -v mmdebstrap >/dev/null || fail "$name: mmdebstrap is missing: run 'integration/peers.sh packages'"
    say "$name: making a root file system (a minute)"
    rm -rf "$root.new"
    mkdir -p "$here/build/rootfs"
    SUITE=${suite:-trixie} "$here/bundles/examples/make-rootfs.sh" --debian "$root.new" "$@" >"$here/build/rootfs/mmdebstrap.log" 2>&1 || {
        tail -n 5 "$here/build/rootfs/mmdebstrap.log" >&2
        fail "$name: mmdebstrap failed (log: $here/build/rootfs/mmdebstrap.log)"
    }
    mv "$root.new" "$root"
    say "$name: in $root"
}

install_systemd() { install_root systemd systemd systemd-sysv dbus; }
# Other releases' systemd: 247, 252, and the newest. What cannot be had is left out.
install_systemd_others() {
    for other in bullseye bookworm forky; do
        (suite=$other && install_root "systemd-$other" systemd systemd-sysv dbus) || true
    done
}
install_sysv() { install_root sysv sysvinit-core initscripts sysv-rc insserv orphan-sysvinit-scripts; }

# The host of the systemd tests: engines with their packages' defaults. Nothing starts with
# the boot that a scenario does not start. Made anew when the list of packages changes.
host_packages='systemd systemd-sysv dbus dbus-user-session libpam-systemd podman crun runc conmon catatonit
    docker.io docker-cli docker-compose containerd containernetworking-plugins uidmap passt fuse-overlayfs netavark
    aardvark-dns nftables iptables iproute2 curl docker-registry postgresql python3 python3-psycopg2 buildah skopeo
    busybox-static procps passwd login util-linux'
host_units='docker.service docker.socket containerd.service docker-registry.service postgresql.service
    podman.socket podman-auto-update.timer podman-restart.service podman-clean-transient.service
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer'
# install_host NAME SUITE: why it came to nothing is kept in NAME.failed.
install_host() {
    name=$1 suite=$2
    root=$here/build/rootfs/$name
    recipe=$root.recipe
    wanted=$(printf '%s\n' "$host_packages" "$host_units" | tr -s ' \n' ' ')
    if [ -e "$root" ] && [ "$(cat "$recipe" 2>/dev/null)" != "$wanted" ]; then
        say "$name: the list of packages has changed"
        rm -rf "$root"
    fi
    rm -f "$root.failed"
    if [ ! -e "$root" ]; then
        # shellcheck disable=SC2086
        (install_root "$name" $host_packages) || {
            grep -E '^ *(E:|.* but it is not |.* : Depends: )' "$here/build/rootfs/mmdebstrap.log" | tail -n 3 |
                tr -s ' \n' ' ' >"$root.failed"
            exit 1
        }
        for unit in $host_units; do
            rm -f "$root"/etc/systemd/system/*.wants/"$unit"
        done
        printf '%s\n' "$wanted" >"$recipe"
    fi
    suite=
    say "$name: in $root"
}
install_openrc() { install_root openrc sysvinit-core initscripts openrc; }

# Free ranges of 65536 ids: useradd gives one where uidmap is installed.
has_range() { grep -q "^$user:" "$1" 2>/dev/null; }

next_range() {
    awk -F: 'BEGIN { next_id = 100000 } { end = $2 + $3; if (end > next_id) next_id = end } END { print next_id }' "$1"
}

install_user() {
    if ! id "$user" >/dev/null 2>&1; then
        as_root "creating the user $user" user
        useradd --create-home --shell /bin/sh "$user"
    fi
    for kind in uid gid; do
        has_range "/etc/sub$kind" && continue
        as_root "giving $user a sub$kind range" user
        first=$(next_range "/etc/sub$kind")
        usermod "--add-sub${kind}s" "$first-$((first + 65535))" "$user"
    done
    say "user: $user, $(grep "^$user:" /etc/subuid | head -n 1 | cut -d: -f2-) subordinate ids (first:count)"
}

# youki is a peer to measure; most runs do without it.
install_youki() {
    if [ -x "$peers/bin/youki" ]; then
        say "youki: in $peers/bin"
        return
    fi
    command -v cargo >/dev/null || fail "youki: cargo is missing"
    say "youki: building 0.7.0 (some minutes)"
    # Its own target directory, and none of this repository's flags.
    mkdir -p "$peers/youki"
    triple=$(rustc -vV | sed -n 's/^host: //p')
    (cd / && CARGO_TARGET_DIR="$peers/youki/target" cargo install --locked --version 0.7.0 \
        --target "$triple" --no-default-features --features v1,v2,systemd,seccomp \
        --root "$peers/youki" youki)
    mkdir -p "$peers/bin"
    cp "$peers/youki/bin/youki" "$peers/bin/youki"
    rm -rf "$peers/youki"
    say "youki: in $peers/bin"
}

# The virtual machine is emulated, so that it runs wherever qemu does.
install_vm() {
    if ! command -v qemu-system-x86_64 >/dev/null; then
        as_root "installing qemu" vm
        say "vm: installing qemu"
        apt install --no-install-recommends qemu-system-x86 >/dev/null 2>&1 || {
            apt update
            apt install --no-install-recommends qemu-system-x86
        }
    fi
    say "vm: $("$here/integration/vm/image.sh")"
}

check() {
    status=0
    missing=$(missing_packages)
    [ -z "$missing" ] || { say "missing packages: $missing"; status=1; }
    "$peers/bin/crun" --version >/dev/null 2>&1 || { say "missing: trixie's crun in $peers/bin"; status=1; }
    "$peers/criu/criu" --version >/dev/null 2>&1 || { say "missing: forky's CRIU in $peers/criu"; status=1; }
    "$peers/docker/dockerd" --version >/dev/null 2>&1 || { say "missing: Docker in $peers/docker"; status=1; }
    { has_range /etc/subuid && has_range /etc/subgid && id "$user" >/dev/null 2>&1; } || {
        say "missing: the user $user with subuid and subgid ranges"
        status=1
    }
    for name in systemd sysv openrc host; do
        [ -e "$here/build/rootfs/$name/usr/sbin/init" ] || {
            say "missing: the root file system with $name in $here/build/rootfs"
            status=1
        }
    done
    for part in "nspawn $peers/bin/systemd-nspawn" "inits $here/build/rootfs/inits/usr/bin/supervisord"; do
        [ -e "${part#* }" ] || say "${part%% *} is not there (for make bench only: integration/peers.sh bench)"
    done
    command -v qemu-system-x86_64 >/dev/null || say "qemu is not there (optional: integration/peers.sh vm)"
    [ -x "$peers/kubernetes/kubelet" ] || say "Kubernetes is not there (optional: integration/peers.sh kubernetes)"
    [ -x "$peers/bin/youki" ] || say "youki is not there (optional: integration/peers.sh youki)"
    if [ $status = 0 ]; then
        say "all there"
    else
        say "run 'sudo integration/peers.sh'; tests that need these are ignored until then"
    fi
    return $status
}

what=${1:-all}
# Two runs at once (two checkouts, two CI jobs) take turns.
if [ "$(id -u)" = 0 ] && [ "$what" != check ]; then
    exec 9>"$lock"
    flock 9
fi
case $what in
    all)
        if [ "$(id -u)" != 0 ]; then
            say "not root: nothing is installed"
            check
            exit
        fi
        install_packages
        install_crun
        # A release that moves may lack it for a day; its trials are ignored then.
        (install_criu) || say "criu: not there, its trials are ignored"
        install_docker
        install_user
        install_systemd
        install_sysv
        install_openrc
        install_host host trixie
        ;;
    packages) install_packages ;;
    crun) install_crun ;;
    criu) install_criu ;;
    docker) install_docker ;;
    user) install_user ;;
    systemd) install_systemd ;;
    systemd-others) install_systemd_others ;;
    sysv) install_sysv ;;
    openrc) install_openrc ;;
    host) install_host host trixie ;;
    host-forky) install_host host-forky forky ;;
    nspawn) install_nspawn ;;
    inits) install_inits ;;
    bench)
        install_packages
        install_crun
        install_nspawn
        install_systemd
        install_inits
        ;;
    vm) install_vm ;;
    youki) install_youki ;;
    kubernetes) install_kubernetes ;;
    check) check ;;
    *) fail "unknown part $what: all, bench, packages, crun, criu, docker, user, systemd, systemd-others, sysv, openrc, host, host-forky, nspawn, inits, youki, kubernetes, vm or check" ;;
esac
