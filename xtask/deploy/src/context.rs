//! What every cloud task starts from: the stack, the way to AWS, and the view.

use std::path::PathBuf;
use std::sync::Arc;

use aws::{Cloud, Identity, Stop};
use stack::{Events, Inventory, Stack};
use xtask::Global;

use crate::access::Access;
use crate::failure::Failure;
use crate::shutdown::Shutdown;
use crate::view::View;
use crate::{paths, tenant_source};

/// What every cloud task starts from.
#[derive(Clone)]
pub struct Context {
    /// The stack that the file describes.
    pub stack: Arc<Stack>,
    /// Where AWS is.
    pub access: Access,
    /// What the user sees.
    pub view: View,
    /// Where libraries send what happens.
    pub events: Events,
    /// Set by Ctrl-C.
    pub stop: Stop,
    /// What must be ended before the program ends.
    pub shutdown: Shutdown,
    /// Results as JSON.
    pub json: bool,
    /// Every question is answered with yes.
    pub yes: bool,
    /// Nothing may be asked.
    pub no_input: bool,
}

impl Context {
    /// Reads and checks the stack file and the tenants' file. Contacts nothing.
    ///
    /// # Errors
    /// The file cannot be read, or something in it is wrong: exit 2, naming file, line and column.
    pub fn load(global: &Global, view: View, stop: Stop, shutdown: Shutdown) -> Result<Context, Failure> {
        Ok(Context::of(read_stack(global.stack.clone())?, global, view, stop, shutdown))
    }

    /// As [`Context::load`], of a stack that is there already.
    pub fn of(stack: Stack, global: &Global, view: View, stop: Stop, shutdown: Shutdown) -> Context {
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if std::env::var(name).is_ok_and(|region| region != stack.region) {
                view.say(format!("{name} is ignored: the stack file says `{}`", stack.region));
            }
        }
        Context {
            stack: Arc::new(stack),
            access: Access::from_environment(global.profile.clone()),
            events: view.events(),
            view,
            stop,
            shutdown,
            json: global.json,
            yes: global.yes,
            no_input: global.no_input,
        }
    }

    /// Connects, says who and where we are, and looks at what exists.
    pub async fn observe(&self) -> Result<(Cloud, Inventory), Failure> {
        let (cloud, _, inventory) = self.look().await?;
        Ok((cloud, inventory?))
    }

    /// As [`Context::observe`], where it matters whether we are let in at all or only a list failed.
    pub async fn look(&self) -> Result<(Cloud, Identity, Result<Inventory, aws::Error>), Failure> {
        // Whoever has the credentials may ask somebody, for as long as that takes.
        let cloud = tokio::select! {
            cloud = Box::pin(self.access.connect(&self.stack)) => cloud?,
            () = self.stop.raised() => {
                return Err(Failure::interrupted());
            }
        };
        let (identity, inventory) =
            tokio::join!(Box::pin(cloud.identity()), Box::pin(aws::observe(&cloud, &self.stack)));
        let identity = identity?;
        self.view.say(format!(
            "stack `{}`, account {}, region {}, as {}",
            self.stack.name, identity.account, self.stack.region, identity.arn
        ));
        Ok((cloud, identity, inventory))
    }

    /// Fails if Ctrl-C was pressed.
    ///
    /// # Errors
    /// Exit 130.
    pub fn check_interrupted(&self) -> Result<(), Failure> {
        if self.stop.is_raised() {
            return Err(Failure::interrupted());
        }
        Ok(())
    }
}

fn read_stack(file: Option<PathBuf>) -> Result<Stack, Failure> {
    let path = file.unwrap_or_else(|| {
        let default = paths::workspace().join(paths::STACK_FILE);
        let here = std::env::current_dir().unwrap_or_default();
        default.strip_prefix(&here).map(PathBuf::from).unwrap_or(default)
    });
    let shown = path.display().to_string();
    db::link::check(&path)?;
    let bytes = std::fs::read(&path).map_err(|error| {
        Failure::usage(format!("cannot read the stack file `{shown}`: {error}"))
            .hint("name one with `--stack FILE`")
    })?;
    let mut stack = stack::config::parse_bytes(&bytes, &shown).map_err(tenant_source::refuse)?;
    tenant_source::read(&mut stack, &path)?;
    Ok(stack)
}
