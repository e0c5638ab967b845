//! Questions to the person at the terminal.

use std::io::IsTerminal;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::screen;
use crate::text::{Text, put_line};

/// Asks whether to go on; `--yes` answers.
///
/// # Errors
/// There is nobody to ask, or the answer is no.
pub fn yes(context: &Context, question: &str) -> Result<(), Failure> {
    if context.yes {
        return Ok(());
    }
    match ask(context, &format!("{question} [y/N] "))?.as_str() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(declined()),
    }
}

/// Asks whether to do something beside what was asked for. `--yes` does not mean it: without an answer it is not done.
///
/// # Errors
/// The answer cannot be read.
pub fn beside(context: &Context, what: &str, question: &str) -> Result<bool, Failure> {
    if context.yes || !can_ask(context) {
        return Ok(false);
    }
    let mut prompt = Text::of(what);
    put_line!(prompt, "{question} [y/N] ");
    Ok(matches!(put(context, &prompt)?.as_str(), "y" | "Y" | "yes"))
}

/// Asks for a name to be typed, as what follows cannot be undone; `--yes` answers.
///
/// # Errors
/// There is nobody to ask, or the name is another one.
pub fn name(context: &Context, question: &str, name: &str) -> Result<(), Failure> {
    if context.yes || ask(context, &format!("{question}; type `{name}` to go on: "))? == name {
        return Ok(());
    }
    Err(declined())
}

/// Asks for a name to be typed, unless it was given on the command line; `--yes` does not answer.
///
/// # Errors
/// There is nobody to ask, or the name is another one.
pub fn typed(context: &Context, question: &str, name: &str, given: Option<&str>) -> Result<(), Failure> {
    let answer = match given {
        Some(given) => given.to_owned(),
        None if !can_ask(context) => {
            return Err(nobody().hint(format!("`--yes` does not answer it: add `--name {name}`")));
        }
        None => ask(context, &format!("{question}; type `{name}` to go on: "))?,
    };
    if answer == name { Ok(()) } else { Err(declined()) }
}

fn can_ask(context: &Context) -> bool {
    !context.no_input && std::io::stdin().is_terminal()
}

fn nobody() -> Failure {
    Failure::usage("this needs an answer and there is no terminal to ask")
}

fn ask(context: &Context, prompt: &str) -> Result<String, Failure> {
    put(context, &Text::of(prompt))
}

fn put(context: &Context, prompt: &Text) -> Result<String, Failure> {
    if !can_ask(context) {
        return Err(nobody().hint("look at it with `--dry-run`, then add `--yes`"));
    }
    Ok(screen::ask(&prompt.called())?)
}

fn declined() -> Failure {
    Failure::new(Exit::Interrupted, anyhow::Error::msg("not confirmed; nothing was changed"))
}
