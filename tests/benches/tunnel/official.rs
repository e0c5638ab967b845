//! The official client, where it is on PATH: `session-manager-plugin`, called as `aws ssm start-session` calls it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::json;
use tests::Fixture;

/// Its name.
pub(crate) const PROGRAM: &str = "session-manager-plugin";
const DOCUMENT: &str = "AWS-StartPortForwardingSessionToRemoteHost";

/// A forward of the official client's, a process of its own.
pub(crate) struct Official {
    pub(crate) address: SocketAddr,
    program: Child,
    /// It ends when it cannot write to it.
    _stdout: BufReader<ChildStdout>,
}

impl Official {
    /// Starts a session and hands it to the program.
    pub(crate) async fn start(fixture: &Fixture, target: SocketAddr) -> Official {
        let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
        let bastion = inventory.bastion().expect("`up` made one").id.clone();
        let request = json!({
            "Target": bastion,
            "DocumentName": DOCUMENT,
            "Parameters": {
                "host": [target.ip().to_string()],
                "portNumber": [target.port().to_string()],
                "localPortNumber": ["0"],
            },
        });
        let session = fixture.raw().ssm("StartSession", &request).await;
        let region = fixture.context.stack.region.clone();
        let mut command = Command::new(PROGRAM);
        // Its first argument holds the token, in every process list: that is how it is called.
        command
            .args([session.as_str(), &region, "StartSession", "", &request.to_string()])
            .arg(fixture.cloud.endpoint())
            .envs(fixture.cloud.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut program = command.spawn().expect("it is on PATH");
        let mut stdout = BufReader::new(program.stdout.take().expect("it is piped"));
        // "Port 12345 opened for sessionId ..".
        let port = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("Port ")?.split_once(' ')?.0.parse::<u16>().ok());
        let port = port.expect("it says which port it opened");
        Official { address: SocketAddr::from(([127, 0, 0, 1], port)), program, _stdout: stdout }
    }

    pub(crate) fn process(&self) -> u32 {
        self.program.id()
    }

    pub(crate) fn stop(mut self) {
        self.program.kill().expect("it can be killed");
        self.program.wait().expect("it ends");
    }
}
