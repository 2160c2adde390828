//! An image in OCI's layout, made of a root file system without any tool of images.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Writes `layout` below the directory that has `rootfs`: one layer, tag `latest`.
const SCRIPT: &str = r#"
blob() {
    sum=$(sha256sum < "$1" | cut -d ' ' -f 1)
    mv "$1" "layout/blobs/sha256/$sum"
    size=$(stat -c %s "layout/blobs/sha256/$sum")
}
mkdir -p layout/blobs/sha256
tar -C rootfs -cf layer .
blob layer
layer=$sum layer_size=$size
echo '{"architecture": "'"$ARCH"'", "os": "linux", "config": '"$SETTINGS"',
    "rootfs": {"type": "layers", "diff_ids": ["sha256:'$layer'"]}}' > config
blob config
echo '{"schemaVersion": 2,
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": "sha256:'$sum'", "size": '$size'},
    "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": "sha256:'$layer'", "size": '$layer_size'}]}' > manifest
blob manifest
echo '{"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "sha256:'$sum'", "size": '$size',
    "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}' > layout/index.json
echo '{"imageLayoutVersion": "1.0.0"}' > layout/oci-layout
"#;

/// Makes `DIR/layout` of `DIR/rootfs`, with the image's settings (`{"Cmd": ["sh"]}`).
///
/// # Panics
/// It cannot be made.
pub fn make(dir: &Path, settings: &str) {
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let mut command = Command::new("sh");
    command.args(["-ec", SCRIPT]).env("ARCH", arch).env("SETTINGS", settings).current_dir(dir);
    let done = command.output().expect("run a shell");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(fs::exists(dir.join("layout/index.json")).expect("look"), "no layout");
}
