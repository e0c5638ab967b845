//! What to do about a target that is not reached: each reason has its own remedy, as far as the agent tells them apart.

use std::error::Error as StdError;

use tunnel::Error;

/// Returns what to type next after a tunnel failed, where the error tells.
pub fn hints(error: &anyhow::Error) -> Vec<String> {
    find(error.as_ref()).into_iter().flat_map(of).collect()
}

/// Says whether it is the target that was not reached: the session to the bastion was there.
pub fn is_of_the_target(error: &anyhow::Error) -> bool {
    matches!(
        find(error.as_ref()),
        Some(
            Error::ConnectFailed { .. }
                | Error::UnknownHost { .. }
                | Error::Forbidden { .. }
                | Error::Unanswered { .. }
        )
    )
}

/// Returns the tunnel's own error among the causes; streams hide it inside an I/O error.
fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found =
            error.downcast_ref::<Error>().or_else(|| inner.and_then(|inner| inner.downcast_ref::<Error>()));
        if found.is_some() {
            return found;
        }
        cause = error.source();
    }
    None
}

/// Returns what to type next after this error.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other errors say themselves what to do")]
pub fn of(error: &Error) -> Vec<String> {
    let hint = match error {
        Error::ConnectFailed { target } => {
            let host = target.rsplit_once(':').map_or(target.as_str(), |(host, _)| host);
            format!(
                "nothing listens at {target}, or the bastion does not know the name: the agent does not say which; \
                 `cargo xtask bastion shell -- getent hosts {host}` looks the name up there"
            )
        }
        Error::UnknownHost { .. } => {
            "check the name: the bastion resolves it with the DNS servers of its own network".to_owned()
        }
        Error::Forbidden { .. } => {
            "name a port of the bastion itself as `localhost:PORT`; its link-local and metadata addresses stay closed"
                .to_owned()
        }
        Error::Unanswered { .. } => {
            "run `cargo xtask doctor`; `cargo xtask up security-groups` mends the rules of the stack".to_owned()
        }
        Error::AgentSilent { .. } => {
            "run `cargo xtask doctor`; `cargo xtask bastion reboot` starts a bastion that hangs again".to_owned()
        }
        Error::EndedUnderUpload { .. } => {
            "run it again; it happens less often with less on the way: `message_bytes = 1024` under `[bastion]` in the \
             stack file, or a slower upload"
                .to_owned()
        }
        _ => return Vec::new(),
    };
    vec![hint]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_reason_has_a_hint_of_its_own_wherever_it_hides() {
        let target = "db.internal:5432".to_owned();
        let errors = [
            Error::ConnectFailed { target: target.clone() },
            Error::UnknownHost { said: "no such host".to_owned() },
            Error::Forbidden { said: "forbidden".to_owned() },
            Error::Unanswered { target, limit: Duration::from_secs(15) },
            Error::AgentSilent { limit: Duration::from_secs(60) },
            Error::EndedUnderUpload { unacknowledged: 1 },
        ];
        let mut seen = std::collections::BTreeSet::new();
        for error in errors {
            let hidden = anyhow::Error::new(std::io::Error::other(error)).context("while connecting");
            let hints = hints(&hidden);
            assert_eq!(hints.len(), 1, "{hidden:#}");
            assert!(seen.insert(hints[0].clone()), "{hints:?}");
        }
        assert!(hints(&anyhow::Error::msg("anything else")).is_empty());
    }
}
