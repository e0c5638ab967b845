//! An error that another program had.

use std::fmt;

/// An error that another program had, and its causes, as texts.
#[derive(Debug)]
pub struct Recorded {
    message: String,
    source: Option<Box<Recorded>>,
}

impl Recorded {
    /// Returns the first text as the error, each later one as the cause of the one before.
    pub(crate) fn new(texts: Vec<String>) -> Recorded {
        let mut texts = texts.into_iter().rev();
        let last = texts.next().unwrap_or_else(|| "it did not say why".to_owned());
        texts.fold(Recorded { message: last, source: None }, |source, message| Recorded {
            message,
            source: Some(Box::new(source)),
        })
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Recorded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
