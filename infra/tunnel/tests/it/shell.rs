use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tunnel::{
    BoxFuture, Control, ControlError, Error, Event, Events, SessionToken, Shell, ShellEvent, ShellOptions,
    TerminalSize,
};

use crate::agent::{FORBIDDEN_KEY, LIMIT, Script, Service, Target};
use crate::shell_agent::{Encryption, Flaw, INSTANCE, Kind, ShellScript};

const ENCRYPTION: Encryption = Encryption { key_id: "key", challenge: "random", flaw: None };

fn script(kind: Kind, encryption: Option<Encryption>) -> Script {
    Script::new(Target::Shell(ShellScript { kind, encryption }))
}

async fn open(service: &Arc<Service>) -> Result<Shell, Error> {
    Shell::open(Arc::clone(service) as Arc<dyn Control>, ShellOptions::new(INSTANCE)).await
}

async fn start(script: Script) -> (Arc<Service>, Shell) {
    let service = Service::new(script);
    let shell = open(&service).await.unwrap();
    (service, shell)
}

/// Returns the output up to that length.
async fn read(shell: &mut Shell, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        match shell.next().await {
            ShellEvent::Output(more) => bytes.extend_from_slice(&more),
            other => panic!("{other:?} after {} bytes", bytes.len()),
        }
    }
    bytes
}

/// Types `length` bytes and checks that the terminal shows them, each once and in order.
async fn echo(shell: &mut Shell, length: usize) {
    let sent: Vec<u8> = (0..length).map(|at| (at * 31 + at / 251) as u8).collect();
    let handle = shell.handle();
    let typing = handle.write(Bytes::from(sent.clone()));
    let (typed, back) = tokio::join!(typing, read(shell, length));
    typed.unwrap();
    assert!(back == sent, "what came back differs");
}

#[tokio::test]
async fn a_terminal_without_a_handshake_begins_with_its_prompt() {
    let (service, mut shell) = start(script(Kind::Terminal, None)).await;
    assert_eq!(read(&mut shell, 2).await, b"$ ");
    shell.handle().resize(TerminalSize { cols: 132, rows: 43 }).await.unwrap();
    assert_eq!(read(&mut shell, 6).await, b"132x43");
    echo(&mut shell, 5000).await;
    shell.close().await.unwrap();
    let seen = service.seen();
    assert!(seen.handshake_responses.is_empty() && seen.data_keys.is_empty());
    assert_eq!(seen.terminated, ["s-1"], "the service is told, for agents of shells know no flag");
}

/// The official client makes a carriage return of a message of one newline.
#[tokio::test]
async fn every_byte_can_be_typed_alone() {
    for encryption in [None, Some(ENCRYPTION)] {
        let (_service, mut shell) = start(script(Kind::Terminal, encryption)).await;
        read(&mut shell, 2).await;
        for byte in 0..=255 {
            shell.handle().write(Bytes::from(vec![byte])).await.unwrap();
            assert_eq!(read(&mut shell, 1).await, [byte]);
        }
        shell.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_terminal_that_ends_is_told_from_one_that_breaks() {
    let (service, mut shell) = start(script(Kind::Terminal, None)).await;
    shell.handle().write(Bytes::from_static(b"exit")).await.unwrap();
    assert_eq!(read(&mut shell, 6).await, b"$ exit");
    for _ in 0..2 {
        let event = shell.next().await;
        assert!(
            matches!(&event, ShellEvent::Ended(Error::SessionEnded { output }) if output.is_empty()),
            "{event:?}"
        );
    }
    let typed = shell.handle().write(Bytes::from_static(b"more")).await;
    assert!(matches!(typed, Err(Error::Closed)));
    shell.close().await.unwrap();
    assert!(service.seen().terminated.is_empty(), "there is nothing left to end");

    let mut timed = script(Kind::Terminal, None);
    timed.end_after = Some(1);
    let (_service, mut shell) = start(timed).await;
    shell.handle().write(Bytes::from_static(b"x")).await.unwrap();
    read(&mut shell, 2).await;
    loop {
        match shell.next().await {
            ShellEvent::Output(_) => (),
            ShellEvent::Ended(error) => {
                assert_eq!(error.to_string(), "the session has ended: time is up");
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_command_has_two_outputs_and_an_exit_code() {
    for encryption in [None, Some(ENCRYPTION)] {
        let (_service, mut shell) = start(script(Kind::Command, encryption)).await;
        let mut seen = Vec::new();
        loop {
            match shell.next().await {
                ShellEvent::Output(bytes) => seen.push(format!("1: {bytes:?}")),
                ShellEvent::StdErr(bytes) => seen.push(format!("2: {bytes:?}")),
                ShellEvent::Exit(code) => seen.push(format!("exit {code}")),
                ShellEvent::Ended(error) => {
                    assert_eq!(error.to_string(), "the session has ended");
                    break;
                }
            }
        }
        assert_eq!(seen, [r#"1: b"out\n""#, r#"2: b"err\n""#, "exit 7"]);
    }
}

#[tokio::test]
async fn a_lossy_line_that_is_cut_loses_nothing() {
    for encryption in [None, Some(ENCRYPTION)] {
        let mut script = script(Kind::Terminal, encryption);
        script.lose_every = Some(41);
        script.repeat_every = Some(17);
        script.cuts = vec![1, 30, 60];
        let (service, mut shell) = start(script).await;
        read(&mut shell, 2).await;
        echo(&mut shell, 100_000).await;
        shell.close().await.unwrap();
        let seen = service.seen();
        assert!(seen.opens.len() >= 4, "{} connections", seen.opens.len());
        assert!(seen.lost > 0 && seen.repeated > 0, "{} lost, {} twice", seen.lost, seen.repeated);
        assert!(seen.opens[1..].iter().all(|open| open.token_value.expose() == "next-token"));
        assert_eq!(seen.data_keys.len(), usize::from(encryption.is_some()), "a key lasts for the session");
    }
}

#[tokio::test]
async fn the_context_of_a_data_key_names_session_instance_and_challenge() {
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for challenge in ["random", ""] {
        let encryption = Encryption { challenge, ..ENCRYPTION };
        let (service, mut shell) = start(script(Kind::Terminal, Some(encryption))).await;
        assert_eq!(read(&mut shell, 2).await, b"$ ");
        shell.close().await.unwrap();
        let mut context = vec![of("aws:ssm:SessionId", "s-1"), of("aws:ssm:TargetId", INSTANCE)];
        if !challenge.is_empty() {
            context.push(of("aws:ssm:RandomChallenge", challenge));
        }
        assert_eq!(service.seen().data_keys, [("key".to_owned(), context)]);
    }
}

#[tokio::test]
async fn an_agent_with_another_key_or_none_is_not_believed() {
    let flawed = |flaw| Encryption { flaw: Some(flaw), ..ENCRYPTION };
    let service = Service::new(script(Kind::Terminal, Some(flawed(Flaw::OtherKey))));
    let error = open(&service).await.unwrap_err();
    assert!(matches!(error, Error::Encryption(_)), "{error:?}");
    assert_eq!(service.seen().terminated, ["s-1"]);

    let (service, mut shell) = start(script(Kind::Terminal, Some(flawed(Flaw::PlainPrompt)))).await;
    let event = shell.next().await;
    assert!(matches!(event, ShellEvent::Ended(Error::Encryption(_))), "{event:?}");
    assert_eq!(service.seen().terminated, ["s-1"]);
}

/// What a caller without AWS is.
struct Keyless(Arc<Service>);

impl Control for Keyless {
    fn start(&self) -> BoxFuture<'_, Result<SessionToken, ControlError>> {
        self.0.start()
    }

    fn sign(&self, url: &str) -> BoxFuture<'_, Result<Vec<(String, String)>, ControlError>> {
        self.0.sign(url)
    }

    fn resume(&self, session_id: &str) -> BoxFuture<'_, Result<Option<SessionToken>, ControlError>> {
        self.0.resume(session_id)
    }

    fn terminate(&self, session_id: &str) -> BoxFuture<'_, Result<(), ControlError>> {
        self.0.terminate(session_id)
    }
}

#[tokio::test]
async fn without_a_data_key_there_is_no_session() {
    let forbidden = Encryption { key_id: FORBIDDEN_KEY, ..ENCRYPTION };
    for (encryption, keyless) in [(forbidden, false), (ENCRYPTION, true)] {
        let service = Service::new(script(Kind::Terminal, Some(encryption)));
        let control: Arc<dyn Control> = if keyless {
            Arc::new(Keyless(Arc::clone(&service)))
        } else {
            Arc::clone(&service) as Arc<dyn Control>
        };
        let error = Shell::open(control, ShellOptions::new(INSTANCE)).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot encrypt the session");
        assert_eq!(service.seen().terminated, ["s-1"]);
        let seen = service.wait_until_seen(|seen| !seen.handshake_responses.is_empty()).await;
        assert!(
            seen.handshake_responses[0].contains(r#""ActionType":"KMSEncryption","ActionStatus":2"#),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_shell_is_refused() {
    let service = Service::new(script(Kind::Confused, None));
    let error = open(&service).await.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { action } if action == "SessionType"), "{error:?}");
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_given_up() {
    let mut mute = script(Kind::Terminal, None);
    mute.mute = true;
    let service = Service::new(mute);
    let mut options = ShellOptions::new(INSTANCE);
    options.handshake_limit = Duration::from_millis(100);
    let error = Shell::open(Arc::clone(&service) as Arc<dyn Control>, options).await.unwrap_err();
    assert!(matches!(error, Error::HandshakeTimedOut { .. }), "{error:?}");
    assert_eq!(service.seen().terminated, ["s-1"]);
}

#[tokio::test]
async fn the_message_of_the_administrator_is_told() {
    let service = Service::new(script(Kind::Command, None));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut options = ShellOptions::new(INSTANCE);
    options.events = Events::new(move |event| drop(tell.send(event)));
    let shell = Shell::open(Arc::clone(&service) as Arc<dyn Control>, options).await.unwrap();
    let started = tokio::time::timeout(LIMIT, told.recv()).await.expect("its start is told");
    assert!(matches!(started, Some(Event::Started { .. })), "{started:?}");
    let ready = tokio::time::timeout(LIMIT, told.recv()).await.expect("that it is ready is told");
    assert!(
        matches!(&ready, Some(Event::Ready { customer_message, .. }) if customer_message == "welcome"),
        "{ready:?}"
    );
    shell.close().await.unwrap();
}

#[tokio::test]
async fn a_shell_that_is_dropped_ends_its_session() {
    let (service, shell) = start(script(Kind::Terminal, None)).await;
    drop(shell);
    service.wait_until_seen(|seen| seen.terminated == ["s-1"]).await;
}
