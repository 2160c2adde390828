use super::super::read::{json, toml};
use super::*;

/// The page's own example.
const PAGE: &str = r#"{
    "name": "qpod",
    "image": "localhost/centos7-qpod:latest",
    "mounts": [{
        "source": "/tmp"
    }],
    "binaries": [{
        "name": "waf"
    }, {
        "name": "gdb"
    }],
    "defaultRunArgs": [
        "-it",
        "--rm",
        "--privileged"
    ]
}"#;

#[test]
fn the_page_as_it_stands() {
    let template = json(PAGE).unwrap();
    template.check().unwrap();
    assert_eq!(template.name, "qpod");
    assert_eq!(template.image.as_deref(), Some("localhost/centos7-qpod:latest"));
    let names: Vec<&str> = template.binaries.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["waf", "gdb"]);
    let tmp = Bind { source: Some("/tmp".to_owned()), target: "/tmp".to_owned(), read_only: false };
    assert_eq!(template.mounts[0].bind().unwrap(), tmp);
    assert_eq!(template.default_run_args, ["-it", "--rm", "--privileged"]);
}

const SERVICES: &str = r#"
name = "shop"
image = "oci:image"
binaries = ["gdb", { name = "waf", depends = ["web"] }]
ports = [9000, "127.0.0.1:8443:443"]

[environment]
A = "1"

[[services]]
name = "zookeeper"
command = "zkServer.sh start-foreground"
start = "auto"

[[services]]
name = "web"
command = ["web", "--port", "8000"]
ports = [8000]
depends = ["zookeeper"]
content = ["plugins/**/*.so"]

[[services]]
name = "grafana"
ports = ["3000:3000"]
start = "manual"
"#;

#[test]
fn toml_has_the_same_names() {
    let template = toml(SERVICES).unwrap();
    template.check().unwrap();
    assert_eq!(template.services[0].command.0, shell("zkServer.sh start-foreground"));
    let named = |services: Vec<&Service>| -> Vec<String> {
        services.iter().map(|service| service.name.clone()).collect()
    };
    assert_eq!(named(template.before(None).unwrap()), ["zookeeper"]);
    let waf = template.binaries.iter().find(|one| one.name == "waf");
    assert_eq!(named(template.before(waf).unwrap()), ["zookeeper", "web"]);
    assert_eq!(named(template.order(&["web".to_owned()]).unwrap()), ["zookeeper", "web"]);
    let ports = template.published().unwrap();
    assert_eq!(ports.len(), 4);
    assert!(ports.contains(&Published {
        address: Some("127.0.0.1".to_owned()),
        host: 8443,
        inside: 443
    }));
}

#[test]
fn what_makes_no_sense() {
    let with = |more: &str| toml(&format!("image = 'x'\n{more}")).and_then(|t| t.check());
    for (more, wanted) in [
        ("binaries = [{name='a', depends=['b']}]", "no service"),
        ("[[services]]\nname='a'\n[[services]]\nname='a'", "two services"),
        ("[[services]]\nname='a'\ndepends=['a']", "itself"),
        (
            "[[services]]\nname='a'\nstart='manual'\n[[services]]\nname='b'\ndepends=['a']",
            "by hand",
        ),
        ("[[services]]\nname='../a'", "letters"),
        ("mounts = ['/a:b']", "absolute"),
        ("mounts = ['/a:/b:exec']", "exec"),
        ("ports = ['x']", "port x"),
        ("ports = ['80:1', '80:2']", "twice"),
        ("imgae = 'y'", "imgae"),
    ] {
        let error = with(more).expect_err(more).to_string();
        assert!(error.contains(wanted), "{more}: {error}");
    }
    assert!(json("{}").unwrap().check().unwrap_err().to_string().contains("neither"));
}
