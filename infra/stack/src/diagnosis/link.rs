//! What one link of the way to the database was judged to be, and the whole chain of them.

use serde::Serialize;

use crate::finding::{self, Finding};

/// What is known of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was seen to be in order.
    Pass,
    /// It was seen to be broken.
    Fail,
    /// It could not be seen.
    Unknown,
    /// It was not tried, as an earlier link does not hold.
    Skipped,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// A word or two: `public address`.
    pub name: &'static str,
    /// What is known of it.
    pub verdict: Verdict,
    /// The kind of reason, if it is broken.
    pub cause: Option<finding::Cause>,
    /// What is so, in one sentence without a full stop.
    pub sentence: String,
    /// What was seen that proves it.
    pub evidence: String,
    /// What mends it, if it is broken.
    pub command: Option<String>,
}

/// The chain, the most basic link first: of all that is broken, the first is the root cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Its links.
    pub links: Vec<Link>,
}

/// What looking at one link came to.
#[derive(Clone, Debug)]
pub enum Judgement {
    /// In order; what was seen.
    Pass(String),
    /// Broken.
    Fail(Finding),
    /// Not to be seen; why.
    Unknown(String),
    /// Not tried; why.
    Skipped(String),
}

impl From<Finding> for Judgement {
    fn from(finding: Finding) -> Judgement {
        Judgement::Fail(finding)
    }
}

impl Link {
    /// Returns the link of that name as it was judged.
    pub fn new(name: &'static str, judgement: Judgement) -> Link {
        let link = |verdict, sentence: String, evidence| Link {
            name,
            verdict,
            cause: None,
            sentence,
            evidence,
            command: None,
        };
        match judgement {
            Judgement::Pass(evidence) => link(Verdict::Pass, format!("{name}: in order"), evidence),
            Judgement::Unknown(why) => {
                link(Verdict::Unknown, format!("it is not known whether {name} is in order"), why)
            }
            Judgement::Skipped(why) => link(Verdict::Skipped, format!("{name}: not tried"), why),
            Judgement::Fail(finding) => Link {
                cause: Some(finding.cause),
                command: Some(finding.command),
                ..link(Verdict::Fail, finding.sentence, finding.evidence)
            },
        }
    }
}

impl Diagnosis {
    /// Returns the root cause: the first broken link, else the first that could not be seen.
    pub fn root(&self) -> Option<&Link> {
        let first = |verdict| self.links.iter().find(|link| link.verdict == verdict);
        first(Verdict::Fail).or_else(|| first(Verdict::Unknown)).or_else(|| first(Verdict::Skipped))
    }

    /// Tells whether every link was seen to be in order.
    pub fn is_healthy(&self) -> bool {
        self.links.iter().all(|link| link.verdict == Verdict::Pass)
    }

    /// Returns what is broken, the root cause first.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |link: &Link| {
            let (sentence, evidence) = (link.sentence.clone(), link.evidence.clone());
            Some(Finding { cause: link.cause?, sentence, evidence, command: link.command.clone()? })
        };
        self.links.iter().filter_map(finding).collect()
    }
}
