//! `resources`: every id of the stack, with what AWS says of it and how to get there.

use std::process::ExitCode;

use jiff::{Timestamp, Unit};

use crate::context::Context;
use crate::failure::Failure;
use crate::report::resources::Resources;
use crate::{program, report, view};

/// Prints every resource, or writes the page. Names and ARNs alone: no secret is read.
pub async fn run(context: &Context, args: &xtask::Resources) -> Result<ExitCode, Failure> {
    args.html.as_deref().map_or(Ok(()), report::try_writing)?;
    let (_, identity, inventory) = Box::pin(context.look()).await?;
    let now = Timestamp::now().round(Unit::Second).map_err(anyhow::Error::from)?;
    let resources = Resources::new(&context.stack, &identity.account, &inventory?, now);
    match &args.html {
        Some(file) => {
            report::write(file, &program::called_in_markup(&resources.html()))?;
            context.view.say(format!("wrote `{}`", file.display()));
            view::result(context.json, "", &resources)?;
        }
        None => view::result(context.json, &resources.render(), &resources)?,
    }
    Ok(ExitCode::SUCCESS)
}
