//! Programs that are started with a password: what they see, whom they tell it, and that they do not outlive who gave it.

mod dump;
mod local;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use tests::{Fixture, LIMIT, Ran, Running, Want, block_on, seen, within};

/// Says whether a process has ended, also if nobody has waited for it yet.
fn has_ended(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')),
        Err(_) => true,
    }
}

async fn start() -> Fixture {
    let fixture = Fixture::start(Want::ControlPlane).await;
    fixture.run(&["up", "--yes"]).await.expect(0);
    fixture
}

/// Runs the program with more variables than the usual ones.
async fn run(fixture: &Fixture, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = fixture.program(args);
    command.envs(variables.iter().copied());
    tokio::task::spawn_blocking(move || tests::run(command)).await.expect("it does not panic")
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_that_exec_started_outlives_it_though_it_is_killed() {
    block_on(async {
        let fixture = start().await;
        // A child, what that started in a session of its own, and one that nobody is the parent of any more.
        let script = "orphan=$(sleep 100 > /dev/null & echo $!); setsid sleep 100 > /dev/null & \
                      echo $PPID $$ $orphan $!; wait";
        let command = fixture.program(&["exec", "--", "sh", "-c", script]);
        let pids = tokio::task::spawn_blocking(move || {
            let program = Running::start(command);
            let pids: Vec<String> = program.line().split(' ').map(str::to_owned).collect();
            assert_eq!(pids.iter().filter(|pid| has_ended(pid)).count(), 0, "{pids:?}");
            program.signal("KILL");
            pids
        });
        let pids = pids.await.unwrap();
        within(LIMIT / 8, "all have ended", || async {
            let left: Vec<&String> = pids.iter().filter(|pid| !has_ended(pid)).collect();
            seen(left.is_empty(), format!("{left:?} of {pids:?} live on"))
        })
        .await;
        fixture.stop().await;
    });
}

#[test]
fn how_a_program_ends_is_passed_on() {
    block_on(async {
        let fixture = start().await;
        let script = |script| ["exec", "--", "sh", "-c", script];
        fixture.run(&script("exit 3")).await.expect(3);
        fixture.run(&script("kill -TERM $$")).await.expect(143);
        let ran = fixture.run(&["exec", "--", "no-such-program"]).await.expect(1);
        assert!(ran.stderr.contains("cannot run `no-such-program`"), "{}", ran.stderr);

        // What it leaves behind in the background when it ends by itself is its own business.
        let ran = fixture.run(&script("sleep 60 > /dev/null 2>&1 & echo $!")).await.expect(0);
        assert!(!has_ended(ran.stdout.trim()));
        std::process::Command::new("kill").arg(ran.stdout.trim()).status().unwrap();

        let command = fixture
            .program(&script("trap 'echo asked; exit 5' TERM; echo there; while :; do sleep 0.1; done"));
        let work = tokio::task::spawn_blocking(move || {
            let program = Running::start(command);
            assert_eq!(program.line(), "there");
            program.signal("TERM");
            assert_eq!(program.line(), "asked");
            assert_eq!(program.ended().code(), Some(5));
        });
        work.await.unwrap();
        fixture.stop().await;
    });
}

#[test]
fn a_program_sees_no_variable_of_libpq_but_ours() {
    block_on(async {
        let fixture = start().await;
        let dir = fixture.cloud.dir().join("services");
        fs::write(&dir, "[elsewhere]\nhost=elsewhere\ndbname=postgres\nsslmode=disable\n").unwrap();
        let inherited = [
            ("PGSERVICE", "elsewhere"),
            ("PGSERVICEFILE", dir.to_str().unwrap()),
            ("PGSYSCONFDIR", "/elsewhere"),
            ("PGHOSTADDR", "192.0.2.1"),
            ("PGOPTIONS", "-c search_path=elsewhere"),
            ("PGTARGETSESSIONATTRS", "standby"),
            ("PGPASSFILE", "/elsewhere"),
            ("PGREQUIREAUTH", "none"),
            ("PGCHANNELBINDING", "disable"),
            ("PGSSLNEGOTIATION", "direct"),
            ("PGSSLCERT", "/elsewhere"),
            ("PGCLUSTER", "15/main"),
            ("PAGER", "less"),
        ];
        let ran = run(&fixture, &["exec", "--", "env"], &inherited).await.expect(0);
        let mut seen: Vec<&str> = ran
            .stdout
            .lines()
            .filter(|line| line.starts_with("PG"))
            .filter_map(|line| line.split('=').next())
            .collect();
        seen.sort_unstable();
        let ours = [
            "PGCHANNELBINDING",
            "PGDATABASE",
            "PGHOST",
            "PGHOSTADDR",
            "PGPASSWORD",
            "PGPORT",
            "PGREQUIREAUTH",
            "PGSSLMODE",
            "PGSSLROOTCERT",
            "PGUSER",
        ];
        assert_eq!(seen, ours);
        for line in
            ["PGHOSTADDR=127.0.0.1", "PGREQUIREAUTH=scram-sha-256", "PGCHANNELBINDING=prefer", "PAGER=less"]
        {
            assert!(ran.stdout.lines().any(|seen| seen == line), "{line}: {}", ran.stdout);
        }
        fixture.stop().await;
    });
}

/// A server that asks whoever connects for the clear password; it hands on how each answer begins.
fn curious() -> (u16, mpsc::Receiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut ask = || {
                let mut length = [0; 4];
                stream.read_exact(&mut length).ok()?;
                let mut startup = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()? - 4];
                stream.read_exact(&mut startup).ok()?;
                stream.write_all(b"R\0\0\0\x08\0\0\0\x03").ok()?;
                let mut head = [0; 5];
                stream.read_exact(&mut head).ok()?;
                Some(String::from_utf8_lossy(&head).into_owned())
            };
            tell.send(ask()).ok();
        }
    });
    (port, told)
}

#[test]
fn whoever_asks_for_the_clear_password_is_not_told_it() {
    block_on(async {
        let fixture = start().await;
        let Some(psql) = sandbox::Programs::psql(&tests::sandboxes()) else {
            return tests::skip("the sandbox brought no psql");
        };
        let (port, told) = curious();
        let script = format!("PGPORT={port} PGSSLMODE=disable exec \"$0\" -Xc 'SELECT 1'");
        let psql = psql.to_str().unwrap();
        fixture.run(&["exec", "--", "sh", "-c", &script, psql]).await.expect(2);
        let said = told.recv_timeout(Duration::from_secs(30)).expect("psql has connected");
        assert_eq!(said, None, "the password was told");
        fixture.stop().await;
    });
}
