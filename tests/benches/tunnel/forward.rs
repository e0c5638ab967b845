//! The ways to the target: a copy loop, and the real program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use tests::Fixture;

/// Copies bytes and does nothing else: the floor.
pub(crate) struct Plain {
    pub(crate) address: SocketAddr,
}

impl Plain {
    pub(crate) fn start(target: SocketAddr) -> Plain {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(target).expect("the target listens");
                let clone = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
                let (back, forth) = ((clone(&far), clone(&near)), (near, far));
                std::thread::spawn(move || copy(back.0, back.1));
                std::thread::spawn(move || copy(forth.0, forth.1));
            }
        });
        Plain { address }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    drop(to.set_nodelay(true));
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
    drop(to.shutdown(std::net::Shutdown::Write));
}

/// `tunnel --to TARGET`, a process of its own so that its time and memory are its own.
pub(crate) struct Tunnel {
    pub(crate) address: SocketAddr,
    program: Child,
}

impl Tunnel {
    pub(crate) fn start(fixture: &Fixture, target: SocketAddr, sessions: u8) -> Tunnel {
        let (to, sessions) = (target.to_string(), sessions.to_string());
        let args = ["tunnel", "--to", &to, "--port", "0", "--sessions", &sessions, "--json"];
        let mut command = fixture.program(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = command.spawn().expect("`cargo xtask bench` builds the program first");
        let mut line = String::new();
        let stdout = program.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it tells when it is ready");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("the tunnel opens");
        let port = ready["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("it names a port");
        Tunnel { address: SocketAddr::from(([127, 0, 0, 1], port)), program }
    }

    pub(crate) fn process(&self) -> u32 {
        self.program.id()
    }

    /// Ends it as Ctrl-C would.
    pub(crate) fn stop(mut self) {
        let told = std::process::Command::new("kill").arg(self.program.id().to_string()).status();
        assert!(told.is_ok_and(|status| status.success()), "the tunnel cannot be told to end");
        self.program.wait().expect("it ends");
    }
}
