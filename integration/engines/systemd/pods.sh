# Kubernetes' way, before containerd starts: the file that an administrator copies, for a peer with the peer's name
# in it, and what is this machine's own.
program=$(command -v "$RUNTIME")
called=$program
# Every pod has shares of the processor and CAP_AUDIT_WRITE. What this machine does not have, and the peers
# insist on, is taken out on the way to the runtime.
if ! grep -qw cpu /sys/fs/cgroup/cgroup.controllers || [ "$RUNTIME" != richrun ]; then
    called=/usr/local/bin/pod-runtime
    cat >$called <<EOF
#!/usr/bin/python3
import json, os, sys

def edit(name, change):
    with open(name) as file:
        document = json.load(file)
    change(document)
    with open(name, "w") as file:
        json.dump(document, file)

def behind(option):
    return sys.argv[sys.argv.index(option) + 1]

def process(document):
    for some in document["capabilities"].values():
        some[:] = [one for one in some if one != "CAP_AUDIT_WRITE"]

def container(document):
    document["linux"]["resources"].pop("cpu", None)
    process(document["process"])

if "create" in sys.argv:
    edit(behind("--bundle") + "/config.json", container)
if "exec" in sys.argv:
    edit(behind("--process"), process)
os.execv("$program", ["$program"] + sys.argv[1:])
EOF
    chmod 755 $called
fi
major=$(containerd --version | grep -oE '[0-9]+\.[0-9]+' | cut -d . -f 1 | sed -n 1p)
{
    sed -e "s|\"/usr/local/bin/richrun\"|\"$called\"|" -e "s/\"richrun\"/\"$RUNTIME\"/; s/runtimes.richrun\\b/runtimes.$RUNTIME/" "/srv/share/config-$major.toml"
    if [ "$major" = 1 ]; then
        cat <<'EOF'
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
EOF
    else
        cat <<'EOF'
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
EOF
    fi
    printf '[plugins."io.containerd.internal.v1.opt"]\npath = "/var/lib/containerd/opt"\n'
} >/etc/containerd/config.toml
mkdir -p /etc/cni/net.d
cat >/etc/cni/net.d/pods.conflist <<'EOF'
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0", "isGateway": true, "ipam": {
    "type": "host-local", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "10.86.0.0/16"}]]}}]}
EOF
