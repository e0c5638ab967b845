//! Shells and commands, spoken to frame by frame.

use std::collections::{BTreeMap, BTreeSet};

use sandbox::gateway::AgentSession;
use sandbox::{Agent, AgentOptions, Challenge, Dialer, Directory, Encryption, Pacing};
use serde_json::Value;
use tunnel::{
    ActionStatus, HandshakeRequest, Message, MessageType, PayloadType, TerminalSize, parse_exit_code,
};

use crate::{Client, response};

const SHELL: &str = "SSM-SessionManagerRunShell";
const COMMAND: &str = "AWS-StartNonInteractiveCommand";

fn client(document: &str, parameters: &[(&str, &str)], encryption: Option<Encryption>) -> Client {
    let options = AgentOptions { pacing: Pacing::Unlimited, encryption, ..AgentOptions::default() };
    let agent = Agent::new(options, Dialer::without_network(Directory::default()));
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let session = AgentSession {
        session_id: "s-1".to_owned(),
        instance_id: "i-1".to_owned(),
        region: "us-east-1".to_owned(),
        host: "localhost".to_owned(),
        port: 0,
        local_port: "0".to_owned(),
        document: document.to_owned(),
        parameters: parameters.iter().map(own).collect(),
    };
    Client::of(&agent, session)
}

impl Client {
    /// Returns what the terminal shows until it shows that.
    async fn screen(&mut self, wanted: &str) -> String {
        let mut shown = String::new();
        while !shown.contains(wanted) {
            let message = self.data().await;
            assert_eq!(message.payload_type, PayloadType::Output);
            shown.push_str(&String::from_utf8_lossy(&message.payload));
        }
        shown
    }

    /// Returns all output, all errors and the exit code of a command.
    async fn outcome(&mut self) -> (String, String, Option<i32>) {
        let (mut output, mut errors, mut code) = (String::new(), String::new(), None);
        while let Some(message) = self.any().await {
            if message.message_type != tunnel::MessageType::OutputStreamData {
                continue;
            }
            // The agent may have ended its session with the last one.
            drop(self.to_agent.send(tunnel::Message::acknowledge(&message).encode()).await);
            if message.sequence != self.received {
                continue;
            }
            self.received += 1;
            let text = String::from_utf8_lossy(&message.payload);
            if message.payload_type == PayloadType::ExitCode {
                code = parse_exit_code(&message.payload);
            } else if message.payload_type == PayloadType::StdErr {
                errors.push_str(&text);
            } else {
                assert_eq!(message.payload_type, PayloadType::Output);
                output.push_str(&text);
            }
        }
        (output, errors, code)
    }
}

async fn run(line: &str, separate: &str) -> (String, String, Option<i32>) {
    let mut client = client(COMMAND, &[("command", line), ("separateOutputStream", separate)], None);
    client.shake_hands().await;
    client.outcome().await
}

#[tokio::test]
async fn a_terminal_begins_with_its_prompt_and_is_as_large_as_the_client_says() {
    let mut client = client(SHELL, &[], None);
    let first = client.data().await;
    assert_eq!((first.payload_type, first.sequence), (PayloadType::Output, 0), "there is no handshake");
    client.send(PayloadType::Size, TerminalSize { cols: 132, rows: 43 }.to_payload()).await;
    client.send(PayloadType::Output, "stty size; tty; pwd; echo $HOME\r").await;
    let shown = client.screen("/dev/pts/").await;
    assert!(shown.contains("43 132"), "{shown}");
    // Ctrl-C is a byte for the terminal, which makes a signal of it. What was typed when a shell itself is interrupted is
    // lost, so that it must be a command that says when it was.
    let command = r#"sh -c 'trap "echo caug""ht; exit" INT; echo asl""eep; while :; do sleep 0.1; done'"#;
    client.send(PayloadType::Output, format!("{command}\r")).await;
    client.screen("asleep").await;
    client.send(PayloadType::Output, "\x03").await;
    client.screen("caught").await;
    client.send(PayloadType::Output, "echo aw''ake\r").await;
    client.screen("awake").await;
    client.send(PayloadType::Output, "exit\r").await;
    client.outcome().await;
    client.serving.await.unwrap();
}

#[tokio::test]
async fn a_command_tells_output_errors_and_its_exit_code_apart_if_asked_to() {
    let line = "sh -c 'echo out; echo err >&2; exit 7'";
    let apart = run(line, "true").await;
    assert_eq!(apart, ("out\n".to_owned(), "err\n".to_owned(), Some(7)));
    let (output, errors, code) = run(line, "false").await;
    let lines: BTreeSet<&str> = output.lines().collect();
    assert_eq!((lines, errors.as_str(), code), (BTreeSet::from(["err", "out"]), "", None));
}

#[tokio::test]
async fn a_command_line_is_cut_into_words_and_no_shell_reads_it() {
    let (output, _, code) = run(
        r#"printf '%s|' 'a  b' $HOME "c;d" 'e'\''f' 'g
h'"#,
        "true",
    )
    .await;
    assert_eq!((output.as_str(), code), ("a  b|$HOME|c;d|e'f|g\nh|", Some(0)));
}

#[tokio::test]
async fn a_command_runs_in_an_empty_environment_and_a_folder_of_its_own() {
    let (output, _, _) = run("env", "true").await;
    let variables: BTreeMap<&str, &str> = output.lines().filter_map(|line| line.split_once('=')).collect();
    let names: Vec<&str> = variables.keys().copied().collect();
    assert_eq!(names, ["HOME", "LANG", "PATH", "PS1", "TERM"]);
    let (output, _, _) = run("sh -c 'test \"$PWD\" = \"$HOME\" && ls -a && pwd'", "true").await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..2], [".", ".."], "{output}");
    assert!(!std::path::Path::new(lines[2]).exists(), "the folder is gone with the session");
}

#[tokio::test]
async fn many_bytes_of_a_command_come_whole_and_in_messages_of_a_kilobyte() {
    let mut client = client(COMMAND, &[("command", "seq 1 20000"), ("separateOutputStream", "true")], None);
    client.shake_hands().await;
    let (output, _, code) = client.outcome().await;
    let expected: String = (1..=20000).map(|number| format!("{number}\n")).collect();
    assert!(output == expected, "{} of {} bytes", output.len(), expected.len());
    assert_eq!(code, Some(0));
    assert!(client.received as usize > expected.len() / 1024);
}

/// Returns how many bytes of output come, once the service has asked for a pause and the client has ended it.
///
/// Nothing but acknowledgements goes to the agent from then on: by those alone it must see that it may go on.
async fn all_of(mut client: Client, length: usize) -> usize {
    let mut unacknowledged = Vec::<Message>::new();
    // It must have said something, or it would have nothing to repeat.
    while unacknowledged.is_empty() {
        let message = client.any().await.unwrap();
        unacknowledged.extend(Some(message).filter(|one| one.message_type == MessageType::OutputStreamData));
    }
    let pause = Message::new(MessageType::PausePublication, PayloadType::Unset, "");
    client.to_agent.send(pause.encode()).await.unwrap();
    let mut again = 0;
    // It has paused when it only repeats itself.
    while again < 3 {
        let message = client.any().await.unwrap();
        if message.message_type != MessageType::OutputStreamData {
            continue;
        }
        let is_new = unacknowledged.last().is_none_or(|last| last.sequence < message.sequence);
        again = if is_new { 0 } else { again + 1 };
        if is_new {
            unacknowledged.push(message);
        }
    }
    let is_output = |message: &&Message| message.payload_type == PayloadType::Output;
    let mut got: usize = unacknowledged.iter().filter(is_output).map(|message| message.payload.len()).sum();
    for message in &unacknowledged {
        client.to_agent.send(Message::acknowledge(message).encode()).await.unwrap();
        client.received = message.sequence + 1;
    }
    while got < length {
        let message = client.data().await;
        if message.payload_type == PayloadType::Output {
            got += message.payload.len();
        }
    }
    got
}

const MUCH: usize = 3_000_000;

#[tokio::test]
async fn much_output_of_a_command_comes_whole() {
    let line = format!("head -c {MUCH} /dev/zero");
    let mut client = client(COMMAND, &[("command", &line), ("separateOutputStream", "true")], None);
    assert_eq!(client.data().await.payload_type, PayloadType::HandshakeRequest);
    client.send(PayloadType::HandshakeResponse, response("1.2.764.0", ActionStatus::Success)).await;
    let got = tokio::time::timeout(std::time::Duration::from_secs(60), all_of(client, MUCH)).await;
    assert_eq!(got.expect("the agent goes on printing"), MUCH);
}

#[tokio::test]
async fn much_output_of_a_terminal_comes_whole() {
    let line = format!("head -c {MUCH} /dev/zero | tr '\\0' x");
    let client = client("AWS-StartInteractiveCommand", &[("command", &line)], None);
    let got = tokio::time::timeout(std::time::Duration::from_secs(60), all_of(client, MUCH)).await;
    assert_eq!(got.expect("the agent goes on printing"), MUCH);
}

#[tokio::test]
async fn ctrl_c_is_a_signal_for_a_command() {
    let line = "sh -c 'echo ready; exec sleep 1000'";
    let mut client = client(COMMAND, &[("command", line), ("separateOutputStream", "true")], None);
    client.shake_hands().await;
    client.screen("ready").await;
    client.send(PayloadType::Output, "dropped").await;
    client.send(PayloadType::Output, "\x03").await;
    let (output, errors, code) = client.outcome().await;
    assert_eq!((output.as_str(), errors.as_str(), code), ("", "", Some(-1)));
}

#[tokio::test]
async fn a_command_that_cannot_be_started_says_why() {
    let (_, errors, code) = run("no-such-program", "true").await;
    assert!(errors.contains("no-such-program"), "{errors}");
    assert_eq!(code, Some(1));
    let (_, errors, _) = run("echo 'never closed", "true").await;
    assert!(errors.contains("quote"), "{errors}");
}

#[tokio::test]
async fn an_encrypted_terminal_begins_with_a_handshake_and_refuses_who_does_not_know_the_challenge() {
    for challenge in [Challenge::Asked, Challenge::None] {
        let encryption = Encryption { key_id: "alias/sessions".to_owned(), challenge };
        let mut client = client(SHELL, &[], Some(encryption));
        let request = client.data().await;
        assert_eq!(request.payload_type, PayloadType::HandshakeRequest);
        let request = HandshakeRequest::parse(&request.payload).unwrap();
        let [session, kms] = &request.requested_client_actions[..] else { panic!("{request:?}") };
        assert_eq!(session.action_parameters["SessionType"], "Standard_Stream");
        assert_eq!(
            (kms.action_type.as_str(), &kms.action_parameters["KMSKeyId"]),
            ("KMSEncryption", &Value::from("alias/sessions"))
        );
        let asked = kms.action_parameters["Challenge"].as_str().unwrap_or_default();
        assert_eq!(!asked.is_empty(), challenge == Challenge::Asked);
        // This client agrees to the session and says nothing of a key.
        client.send(PayloadType::HandshakeResponse, response("1.2.764.0", ActionStatus::Success)).await;
        let (output, _, _) = client.outcome().await;
        assert_eq!(output, "", "nothing is shown without a key");
        client.serving.await.unwrap();
    }
}
