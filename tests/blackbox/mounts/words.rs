//! Mounts that fail, in the words that mount(2) would have, with what is wrong.

use std::path::Path;

use richrun_tests::bundle::{bind, mounts, user_namespace};
use richrun_tests::suite::ONE;
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

use super::tmpfs;

pub fn register(suite: &mut Suite) {
    suite.on(ONE, "not_a_directory", not_a_directory).on(
        ONE,
        "the_option_is_named",
        the_option_is_named,
    );
}

fn not_a_directory(t: &Trial) {
    let edits: [fn(&mut Value); 5] = [
        |c| bind(c, Path::new("/usr"), "/etc/passwd", &["bind"]),
        |c| bind(c, Path::new("/etc/passwd"), "/etc", &["rbind"]),
        |c| tmpfs(c, "/etc/passwd", &[]),
        |c| tmpfs(c, "/etc/passwd/below", &[]),
        |c| {
            user_namespace(c);
            bind(c, Path::new("/usr"), "/etc/passwd", &["bind"]);
        },
    ];
    for edit in edits {
        t.sh_with("true", edit).exits(1).says("not a directory").says("/etc");
    }
}

fn the_option_is_named(t: &Trial) {
    t.only(&[Kind::Richrun], "names the mount only");
    for (option, words) in [
        ("size=banana", "option size=banana: tmpfs: Bad value for 'size'"),
        ("no_such=1", "option no_such=1: tmpfs: Unknown parameter 'no_such'"),
        ("uid=4294967296", "option uid=4294967296"),
        ("gid=x", "option gid=x"),
    ] {
        let out = t.sh_with("true", |c| tmpfs(c, "/mnt", &["mode=755", option]));
        out.exits(1).says("mount tmpfs on /mnt").says(words).says("invalid argument");
    }
    let out = t.sh_with("true", |c| {
        user_namespace(c);
        tmpfs(c, "/tmp", &["uid=70000"]);
    });
    out.exits(1).says("option uid=70000");
    let out = t.sh_with("true", |c| {
        mounts(c).push(json!({"destination": "/mnt", "type": "nofs", "source": "none"}));
    });
    out.exits(1).says("unknown file system type").says("no such device");
}
