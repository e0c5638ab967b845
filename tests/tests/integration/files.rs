//! What tasks write: private from the first byte, whatever the umask lets others do, and never in a commit.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tests::{Fixture, Want};

fn mode(file: &Path) -> u32 {
    std::fs::metadata(file).expect("it is written").permissions().mode() & 0o777
}

/// Runs the program in that folder, with the umask that most have.
async fn run(fixture: &Fixture, dir: &Path, args: &[&str], code: i32) {
    let program = fixture.program(args);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 022; exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(dir);
    tokio::task::spawn_blocking(move || tests::run(command)).await.expect("it ends").expect(code);
}

#[test]
fn what_tasks_write_is_their_owners_alone() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let dir = fixture.cloud.dir().join("work");
        std::fs::create_dir_all(&dir).expect("the cloud has a folder");
        let stack = ["--stack", tests::STACK_FILE];
        let written = [
            (vec!["up", "--yes"], None, 0),
            (vec!["env"], Some("aws-resources.env"), 0),
            (vec!["status", "--html", "status.html"], Some("status.html"), 0),
            (vec!["resources", "--html", "resources.html"], Some("resources.html"), 0),
            // It cannot connect, and reports that.
            (vec!["release", "--yes", "--report", "report.json"], Some("report.json"), 1),
            (vec!["down", "--yes", "--receipt", "down.json"], Some("down.json"), 0),
        ];
        for (args, file, code) in written {
            if let Some(file) = file {
                // One that is there, and that everybody reads, is not left so.
                let lax = dir.join(file);
                if file != "aws-resources.env" {
                    std::fs::write(&lax, "old").expect("it can be written");
                    std::fs::set_permissions(&lax, std::fs::Permissions::from_mode(0o644))
                        .expect("it is ours");
                }
            }
            run(&fixture, &dir, &[&stack[..], &args].concat(), code).await;
            if let Some(file) = file {
                let text = std::fs::read_to_string(dir.join(file)).expect("it is text");
                assert!(text.len() > 20, "{file}: {text}");
                assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
            }
        }
        let left: Vec<String> = std::fs::read_dir(&dir)
            .expect("it can be listed")
            .filter_map(|one| one.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        fixture.stop().await;
    });
}

#[test]
fn none_of_it_gets_into_a_commit() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    // The names that tasks choose themselves, and those that the documents show.
    let names = [
        "aws-resources.env",
        "startupwebapp_prod-20261130T120000Z.dump",
        ".startupwebapp_prod-20261130T120000Z.dump.4711.part",
        "down.json",
        "report.json",
        "report.xml",
        "status.html",
        "resources.html",
    ];
    let mut command = Command::new("git");
    command.current_dir(root).args(["check-ignore", "--no-index"]).args(names);
    let output = command.output().expect("whoever has the sources has git");
    let ignored = String::from_utf8_lossy(&output.stdout);
    // An archive of the sources is no repository, and nobody commits from it.
    if output.status.code() == Some(128) {
        return;
    }
    for name in names {
        assert!(ignored.lines().any(|line| line == name), "git would take `{name}`");
    }
}
