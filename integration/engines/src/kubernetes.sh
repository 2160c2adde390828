# Makes a sandbox fit for a Kubernetes. Arguments: its directory, the node's address, the
# name of the cgroup below which pods go. What is mounted here only the sandbox sees.
set -eu
dir=$1 address=$2 cgroup=$3
mkdir -p "$dir/etcd" "$dir/plugins" "$dir/kubelet"
chmod 700 "$dir/etcd"
openssl genrsa -out "$dir/accounts.key" 2048 2>/dev/null

# The kubelet's place for the logs of pods.
mount -t tmpfs -o mode=755 richrun-engines /var/log

# It asks for these settings of the kernel, and would change them.
while read -r file value; do
    printf '%s\n' "$value" >"$dir/${file##*/}"
    [ ! -e "/proc/sys/$file" ] || mount --bind "$dir/${file##*/}" "/proc/sys/$file"
done <<'SETTINGS'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SETTINGS

# On the loopback interface, but not a loopback address, which no node may have.
ip address add "$address/32" dev lo

# The cgroup of the pods, in the root of each hierarchy, which has no type on cgroup2.
for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ -e "$root/cgroup.procs" ] && [ ! -e "$root/cgroup.type" ]; then
        mkdir -p "$root/$cgroup"
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$root/cpuset.cpu_exclusive" ] || cat "$root/$file" >"$root/$cgroup/$file"
        done
    fi
done
