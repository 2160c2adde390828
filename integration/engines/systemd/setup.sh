# What every machine gets before the first scenario: the runtime as the default of all
# engines, an ordinary user, and an image. RUNTIME is crun, runc or richrun.
set -eu
mkdir -p /etc/containers/containers.conf.d /etc/docker /etc/containerd

# The default of 2048 processes needs the controller.
grep -qw pids /sys/fs/cgroup/cgroup.controllers ||
    printf '[containers]\npids_limit = 0\n' >/etc/containers/containers.conf.d/10-machine.conf

# For richrun the files that an administrator copies (integration/setup).
if [ "$RUNTIME" = richrun ]; then
    cp /srv/share/50-richrun.conf /etc/containers/containers.conf.d/
    cp /srv/share/daemon.json /etc/docker/
else
    printf '[engine]\nruntime = "%s"\n' "$RUNTIME" >/etc/containers/containers.conf.d/50-runtime.conf
    [ "$RUNTIME" = runc ] ||
        printf '{"default-runtime": "%s", "runtimes": {"%s": {"path": "%s"}}}\n' "$RUNTIME" "$RUNTIME" \
            "$(command -v "$RUNTIME")" >/etc/docker/daemon.json
fi

# For --userns=auto. Newer shadow knows the ranges of users that there are.
id -u containers >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin containers
grep -q ^containers: /etc/subuid || {
    echo containers:300000000:65536000 >>/etc/subuid
    echo containers:300000000:65536000 >>/etc/subgid
}
useradd --uid 1500 --user-group --create-home --shell /bin/bash keeper
usermod --add-subuids 100000000-100131071 --add-subgids 100000000-100131071 keeper
loginctl enable-linger keeper

# An outward interface, which pasta copies: else it takes one of Docker's.
ip link add lan type veth peer name lan-peer
ip link set lan-peer up
ip address add 10.99.0.2/24 dev lan
ip link set lan up
ip route add default via 10.99.0.1
systemctl start network-online.target

mkdir -p /srv/tools
install -m 755 /srv/share/images.sh /srv/tools/images.sh

# What containers are made of, readable by everybody.
cp /srv/share/image.tar /var/tmp/image.tar
chmod 644 /var/tmp/image.tar
podman import -q /var/tmp/image.tar localhost/scenario:1
systemd-run -q --pipe --wait --collect -p User=keeper -p PAMName=login \
    podman import -q /var/tmp/image.tar localhost/scenario:1
