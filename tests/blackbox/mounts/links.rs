//! What links at both ends of a bind mount are, and id ranges in an option: crun's words.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use richrun_tests::bundle::{bind, mounts, sh, user_namespace};
use richrun_tests::suite::ONE;
use richrun_tests::{Kind, Suite, Trial};
use serde_json::{Value, json};

pub fn register(suite: &mut Suite) {
    suite
        .on(ONE, "the_source_itself", the_source_itself)
        .on(ONE, "the_destination_itself", the_destination_itself)
        .on(ONE, "a_link_is_copied", a_link_is_copied)
        .on(ONE, "id_ranges_of_an_option", id_ranges_of_an_option);
}

const ONLY: &str = "runc has no such options";

fn plain(_: &mut Value) {}

fn the_source_itself(t: &Trial) {
    t.only(&[Kind::Richrun], ONLY);
    fs::write(t.dir.join("real"), "followed").expect("write");
    let link = t.dir.join("link");
    symlink("real", &link).expect("link");
    for edit in [plain, user_namespace] {
        for (options, prints) in
            [(vec!["bind"], "followed"), (vec!["bind", "src-nofollow"], "real")]
        {
            let bundle = t.bundle(|c| {
                sh(c, "readlink /there || cat /there");
                edit(c);
                bind(c, &link, "/there", &options);
            });
            bundle.file("there", "");
            t.run(&bundle).ok().prints(prints);
        }
    }
}

fn the_destination_itself(t: &Trial) {
    t.only(&[Kind::Richrun], ONLY);
    let file = t.dir.join("file");
    fs::write(&file, "mounted").expect("write");
    for edit in [plain, user_namespace] {
        for (options, prints) in [
            (vec!["bind"], "link mounted mounted"),
            (vec!["bind", "dest-nofollow"], "mounted under"),
        ] {
            let bundle = t.bundle(|c| {
                sh(c, "test -L /there && echo -n 'link '; cat /there; echo -n ' '; cat /under");
                edit(c);
                bind(c, &file, "/there", &options);
            });
            bundle.file("under", "under");
            symlink("under", bundle.rootfs().join("there")).expect("link");
            t.run(&bundle).ok().prints(prints);
        }
    }
}

fn a_link_is_copied(t: &Trial) {
    t.only(&[Kind::Richrun], ONLY);
    let link = t.dir.join("link");
    symlink("/no/where", &link).expect("link");
    let bundle = t.bundle(|c| {
        sh(c, "readlink /new/there; grep -c there /proc/self/mountinfo");
        bind(c, &link, "/new/there", &["bind", "copy-symlink", "ro"]);
    });
    // The second time it is there.
    for _ in 0..2 {
        t.run(&bundle).exits(1).prints("/no/where\n0");
    }
    fs::remove_file(bundle.rootfs().join("new/there")).expect("remove");
    bundle.file("new/there", "other");
    t.run(&bundle).fails().says("copy-symlink").says("/new/there").says("file exists");
    // What is no link is mounted.
    fs::remove_file(&link).expect("remove");
    fs::write(&link, "plain").expect("write");
    bundle.edit(|c| sh(c, "cat /new/there"));
    t.run(&bundle).ok().prints("plain");
}

fn id_ranges_of_an_option(t: &Trial) {
    t.only(&[Kind::Richrun], "1.1 and 1.8 want other forms of id-mapped mounts");
    let file = t.dir.join("file");
    fs::write(&file, "x").expect("write");
    chown(&file, Some(5), Some(6)).expect("chown");
    for option in ["idmap=uids=0-1000-5#5-3000-1;gids=0-2000-10", "ridmap=gids=6-7-1;uids=5-8-1"] {
        let prints = if option.starts_with('r') { "8:7" } else { "3000:2006" };
        let out =
            t.sh_with("stat -c %u:%g /there", |c| bind(c, &file, "/there", &["rbind", option]));
        out.ok().prints(prints);
    }
    let bad = "idmap=uids=0-1";
    let out = t.sh_with("true", |c| bind(c, &file, "/there", &["bind", bad]));
    out.fails().says("mounts[").says(".options: idmap=uids=0-1: ");
    let out = t.sh_with("true", |c| {
        mounts(c).push(json!({"destination": "/x", "type": "tmpfs", "source": "x",
            "options": ["idmap=uids=0-1-1;gids=0-1-1"]}));
    });
    out.fails().says("only supported for bind mounts");
}
