# Makes the root file system of a machine. Arguments: the Debian, a directory of the
# sandbox's own, the runtime that becomes the machine's /usr/local/bin/richrun.
# What is written to the root goes to the sandbox's tmpfs.
set -eu
debian=$1 dir=$2 runtime=$3
mkdir -p "$dir/upper/usr/local/bin" "$dir/work" "$dir/root"
cp "$runtime" "$dir/upper/usr/local/bin/richrun"
ln -s richrun "$dir/upper/usr/local/bin/richrun-rich"
mount -t overlay -o "lowerdir=$debian,upperdir=$dir/upper,workdir=$dir/work" richrun-engines "$dir/root"
