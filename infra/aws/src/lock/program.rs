//! Whether the program that holds a lock is still there, where that can be known.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{LazyLock, Mutex, PoisonError};

use stack::inventory::Holder;

/// This program. On Linux: its machine's boot, its namespace of processes, its number and when it began, so that a number
/// that is used again, another container's and another boot's are told apart. Elsewhere a random name.
static THIS: LazyLock<String> = LazyLock::new(|| of_process(std::process::id()).unwrap_or_else(random));

/// The runs of this program that hold a lock or wait for one.
static RUNS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A run of this program, for as long as it is not dropped.
#[derive(Debug)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn new() -> Token {
        let token = random();
        RUNS.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone());
        Token(token)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        RUNS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Returns what tells this program from all others.
pub(super) fn this() -> String {
    THIS.clone()
}

/// Tells whether the holder surely lives no more: its program was here and is not, or it is a run of this one that is over.
pub(super) fn is_gone(holder: &Holder) -> bool {
    if holder.program == *THIS {
        return !is_mine(holder);
    }
    let is_of_here = place().is_some_and(|place| holder.program.starts_with(&format!("{place}/")));
    is_of_here && of_process(holder.process).as_ref() != Some(&holder.program)
}

/// Tells whether the holder is a run of this program that is not over.
pub(super) fn is_mine(holder: &Holder) -> bool {
    holder.program == *THIS && RUNS.lock().unwrap_or_else(PoisonError::into_inner).contains(&holder.token)
}

fn of_process(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // proc_pid_stat(5): the second field is a name in parentheses, with whatever in it; the 22nd is when it began.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // Of one that ended and was not waited for only the number is left.
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let began = fields.nth(18)?;
    (!is_dead).then(|| place().map(|place| format!("{place}/{process}/{began}"))).flatten()
}

/// Returns the machine's boot and the namespace in which the numbers of processes are meant.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.to_str()?))
}

fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn holder(process: u32, program: String, token: &str) -> Holder {
        let (task, by, token) = ("up".to_owned(), "somebody".to_owned(), token.to_owned());
        Holder { task, by, process, program, token, displaced: Vec::new() }
    }

    #[test]
    fn a_run_of_this_program_is_gone_once_it_is_dropped() {
        let token = Token::new();
        let mine = holder(std::process::id(), this(), token.as_str());
        assert!(!is_gone(&mine));
        drop(token);
        assert!(is_gone(&mine));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_of_this_machine_is_gone_once_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let theirs = holder(child.id(), of_process(child.id()).unwrap(), "one");
        assert!(!is_gone(&theirs));
        let before = holder(child.id(), format!("{}0", theirs.program), "one");
        assert!(is_gone(&before), "its number is another program's now");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_gone(&theirs));
    }

    #[test]
    fn of_another_machine_nothing_is_known() {
        let elsewhere = "00000000-0000-0000-0000-000000000000/pid:[1]/1/1";
        assert!(!is_gone(&holder(1, elsewhere.to_owned(), "one")));
        assert!(!is_gone(&holder(1, random(), "one")));
    }
}
