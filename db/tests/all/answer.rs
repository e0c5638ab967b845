//! A server that lets in by SCRAM and then answers whatever it is told to, made from any bytes: rows of a history that no refinery
//! wrote, errors with any fields, notices in between, in any order.

use std::sync::OnceLock;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, Tag, sign};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use db::Error;
use db::migrate::{self, TenantPlan};
use db::migration::{MigrationSet, parse};
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::fake::{self, HOST, PASSWORD, Pki, login, message};

/// Every answer has as many columns as the longest question asks for.
const COLUMNS: usize = 12;
const MOST_MESSAGES: usize = 60;

/// What of the answer is known beforehand.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How many rows came after the one that says where the history is.
    pub(crate) rows: usize,
    /// Whether an error did.
    pub(crate) is_error: bool,
}

/// Bytes as choices; when they have run out each is the first.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn number(&mut self, below: u8) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first % below
    }

    fn text(&mut self) -> String {
        let length = usize::from(self.number(40)).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        // The protocol's strings end with a zero.
        String::from_utf8_lossy(taken).replace('\0', "\u{1b}")
    }

    /// Returns a value that the column might hold, or one that it never should.
    fn value(&mut self, plausible: &[&str]) -> Option<String> {
        let at = usize::from(self.number(u8::try_from(plausible.len() + 3).unwrap_or(u8::MAX)));
        match plausible.get(at) {
            Some(value) => Some((*value).to_owned()),
            None if at == plausible.len() => None,
            None if at == plausible.len() + 1 => Some(self.text().repeat(1 + usize::from(self.number(200)))),
            None => Some(self.text()),
        }
    }
}

fn columns() -> Vec<u8> {
    let mut body = u16::try_from(COLUMNS).unwrap_or_default().to_be_bytes().to_vec();
    for _ in 0..COLUMNS {
        body.extend(b"c\0");
        // No table, text, of any length, as text.
        body.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    }
    message(b'T', &body)
}

fn row(values: Vec<Option<String>>) -> Vec<u8> {
    let mut body = u16::try_from(COLUMNS).unwrap_or_default().to_be_bytes().to_vec();
    for value in values.into_iter().chain(std::iter::repeat(None)).take(COLUMNS) {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(text) => {
                body.extend(u32::try_from(text.len()).unwrap_or_default().to_be_bytes());
                body.extend(text.as_bytes());
            }
        }
    }
    message(b'D', &body)
}

fn error(kind: u8, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, plausible) in [
        (b'S', &["ERROR", "FATAL", "FEHLER"][..]),
        (b'V', &["ERROR", "FATAL", "PANIC"]),
        (b'C', &["42P01", "57P01", "25P03", "08006", "XX000"]),
        (b'M', &["relation \"refinery_schema_history\" does not exist"]),
        (b'D', &["more"]),
        (b'H', &["run `rm -rf /`"]),
        (b'W', &["PL/pgSQL function x() line 1"]),
        (b'P', &["1", "99999999999", "-1"]),
        (b'p', &["2"]),
        (b'q', &["SELECT 1"]),
        (b's', &["public"]),
        (b't', &["account"]),
        (b'L', &["12"]),
    ] {
        if let Some(value) = choices.value(plausible) {
            body.push(field);
            body.extend(value.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    message(kind, &body)
}

/// Returns what the server sends in answer to the question for the history.
fn answer(bytes: &[u8]) -> (Vec<u8>, Told) {
    let mut choices = Choices(bytes);
    let choices = &mut choices;
    let (mut sent, mut told) = (columns(), Told::default());
    sent.extend(row(vec![
        choices.value(&["app"]),
        choices.value(&["public"]),
        choices.value(&["t", "f"]),
        choices.value(&["public"]),
        choices.value(&["t", "f"]),
        choices.value(&["[\"other\"]", "[]", "{", "[1]"]),
    ]));
    sent.extend(message(b'C', b"SELECT 1\0"));
    sent.extend(columns());
    for _ in 0..MOST_MESSAGES {
        match choices.number(8) {
            0 => break,
            1 => sent.extend(error(b'N', choices)),
            2 => sent.extend(message(b'S', b"TimeZone\0Nowhere/\x1b[31m\0")),
            3 => {
                sent.extend(error(b'E', choices));
                told.is_error = true;
                break;
            }
            _ => {
                let version = choices.value(&["1", "2", "-1", "2147483647", "2147483648"]);
                let name = choices.value(&["first", "x'; id; echo '", "\u{1b}]52;c;aGk=\u{7}", "a\nhint: b"]);
                let dates = ["2026-01-31T23:59:59.5Z", "2026-02-30T00:00:00Z", "2026-01-31"];
                let date = choices.value(&dates);
                let checksum = choices.value(&["1", "18446744073709551615", "18446744073709551616", "-1"]);
                sent.extend(row(vec![version, name, date, checksum]));
                told.rows += 1;
            }
        }
    }
    if !told.is_error {
        sent.extend(message(b'C', b"SELECT 1\0"));
    }
    sent.extend(message(b'Z', b"I"));
    (sent, told)
}

/// Lets a client in that knows the password, as PostgreSQL does; looks at none of its proofs.
async fn let_in(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    let auth = |code: u32, data: &[u8]| message(b'R', &[&code.to_be_bytes()[..], data].concat());
    let tag = |key: &[u8], text: &[u8]| -> Tag { sign(&Key::new(HMAC_SHA256, key), text) };
    stream.write_all(&auth(10, b"SCRAM-SHA-256\0\0")).await?;
    let first = String::from_utf8_lossy(&read(stream).await?.1).into_owned();
    let bare = first.split_once("n=").map(|(_, rest)| format!("n={rest}")).unwrap_or_default();
    let nonce = bare.split_once("r=").map_or("", |(_, nonce)| nonce);
    let server = format!("r={nonce}server,s={},i=1", STANDARD.encode("salt"));
    stream.write_all(&auth(11, server.as_bytes())).await?;
    let last = String::from_utf8_lossy(&read(stream).await?.1).into_owned();
    let unproved = last.split_once(",p=").map_or("", |(before, _)| before);
    let salted = tag(PASSWORD.as_bytes(), b"salt\0\0\0\x01");
    let key = tag(salted.as_ref(), b"Server Key");
    let proof = tag(key.as_ref(), format!("{bare},{server},{unproved}").as_bytes());
    stream.write_all(&auth(12, format!("v={}", STANDARD.encode(proof)).as_bytes())).await?;
    stream.write_all(&auth(0, b"")).await?;
    stream.write_all(&message(b'S', b"server_version\x0016.4\0")).await?;
    stream.write_all(&message(b'S', b"standard_conforming_strings\0on\0")).await?;
    stream.write_all(&message(b'Z', b"I")).await
}

/// Reads a message of the client's.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let length = usize::try_from(stream.read_u32().await?).unwrap_or_default().saturating_sub(4);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

/// Plans the migrations of a tenant whose server answers what is made of those bytes.
pub(crate) async fn plan(bytes: &[u8]) -> (Result<TenantPlan, Error>, Told) {
    static PKI: OnceLock<Pki> = OnceLock::new();
    let pki = PKI.get_or_init(|| Pki::new(HOST, &[&TLS13]));
    let (server, stream) = fake::server(&pki.authority_pem);
    let (sent, told) = answer(bytes);
    let serving = tokio::spawn(async move {
        let (mut stream, _) = fake::accept(stream, pki.clone()).await?;
        let_in(&mut stream).await?;
        while let Ok((kind, _)) = read(&mut stream).await {
            match kind {
                b'Q' => stream.write_all(&sent).await?,
                _ => break,
            }
        }
        std::io::Result::Ok(())
    });
    let files = vec![parse("V1__first.sql", b"SELECT 1;").expect("it is a migration")];
    let planned = migrate::plan(&server, &login(), &MigrationSet::flat(files)).await;
    serving.abort();
    (planned, told)
}
