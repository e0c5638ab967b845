//! `resources`: every id of the stack, with what AWS says of it and how to get there.

use std::process::ExitCode;

use jiff::{Timestamp, Unit};

use crate::context::Context;
use crate::failure::Failure;
use crate::report::{self, resources::Resources};

/// Prints every resource, or writes the page. Names and ARNs alone: no secret is read.
pub async fn run(context: &Context, args: &xtask::Resources) -> Result<ExitCode, Failure> {
    args.html.as_deref().map_or(Ok(()), report::try_writing)?;
    let (_, identity, inventory) = Box::pin(context.look()).await?;
    let now = Timestamp::now().round(Unit::Second).map_err(anyhow::Error::from)?;
    let resources = Resources::new(&context.stack, &identity.account, &inventory?, now);
    let page = args.html.as_deref().map(|file| (file, resources.html()));
    report::give(context, page, || resources.render(), &resources)?;
    Ok(ExitCode::SUCCESS)
}
