//! What becomes of the data of a stack that is taken down.

/// What becomes of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Whether the database leaves a snapshot.
    pub snapshot: Snapshot,
    /// What becomes of the stack's secrets.
    pub secrets: SecretRetention,
}

/// Whether the database leaves a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// None: its data are lost.
    Skip,
    /// One whose name ends with the seconds since 1970.
    Dated,
    /// One of that name, from [`Snapshot::parse`].
    Named(String),
}

/// What becomes of the stack's secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRetention {
    /// They are deleted at once, also out of a recovery window.
    Delete,
    /// They can be restored for so many days, 7 to 30.
    Recoverable {
        /// The recovery window.
        days: u8,
    },
    /// They stay, and those that are scheduled for deletion are restored.
    Keep,
}

impl Snapshot {
    /// Returns a snapshot of that name.
    ///
    /// # Errors
    /// What RDS would refuse, in words.
    pub fn parse(name: &str) -> Result<Snapshot, String> {
        // Source: the parameter `FinalDBSnapshotIdentifier` of DeleteDBInstance in RDS's API reference.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let fits = name.len() <= 255
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(is_plain)
            && !name.ends_with('-')
            && !name.contains("--");
        if fits {
            // RDS keeps names in lower case; as typed, it would not be found again.
            return Ok(Snapshot::Named(name.to_ascii_lowercase()));
        }
        Err(format!(
            "`{name}` is no name for a snapshot: at most 255 letters, digits and single hyphens, a letter first, no hyphen last"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_s_name_is_one_that_rds_takes() {
        assert_eq!(Snapshot::parse("Before-Move-2"), Ok(Snapshot::Named("before-move-2".to_owned())));
        for bad in ["", "1st", "-a", "a-", "a--b", "a_b", "a b", "ä", &"a".repeat(256)] {
            assert!(Snapshot::parse(bad).is_err(), "{bad}");
        }
    }
}
