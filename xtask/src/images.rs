//! `images`: the container images that the container tests need, pulled where a registry answers, built from packages
//! where none does.

mod build;
mod client;
mod context;
mod debian;
mod docker;
mod log;

use std::fmt;
use std::process::ExitCode;

use xshell::Shell;
use xtask::Images;

/// What the licensed LocalStack takes. Containers are given it by name; its value is in no command line.
pub(crate) const LOCALSTACK_TOKEN: &str = "LOCALSTACK_AUTH_TOKEN";

/// An image that the tests need.
struct Recipe {
    name: &'static str,
    /// The environment variable that names another image.
    variable: &'static str,
    default: &'static str,
    /// The folder in `tests/images` with what the equivalent is built from, and its name. Two may share one.
    built: &'static str,
    /// Files from elsewhere in the workspace that the equivalent is built from, too.
    shared: &'static [&'static str],
}

const RECIPES: [Recipe; 5] = [
    Recipe {
        name: "localstack",
        variable: "DRAWBRIDGE_IMAGE_LOCALSTACK",
        default: "localstack/localstack:4.14.0",
        built: "localstack",
        shared: &["tests/images/python/install.sh"],
    },
    Recipe {
        name: "moto",
        variable: "DRAWBRIDGE_IMAGE_MOTO",
        default: "motoserver/moto:5.2.5",
        built: "moto",
        shared: &["tests/images/python/install.sh", "infra/sandbox/requirements.txt"],
    },
    Recipe {
        name: "postgres",
        variable: "DRAWBRIDGE_IMAGE_POSTGRES",
        default: "postgres:16-alpine",
        built: "postgres",
        shared: &[],
    },
    Recipe {
        name: "bastion",
        variable: "DRAWBRIDGE_IMAGE_BASTION",
        default: "amazonlinux:2023",
        built: "bastion",
        shared: &[],
    },
    // The agent is built on the machine that tests, and needs a glibc that is not older: Amazon Linux's 2.34 is.
    Recipe {
        name: "agent",
        variable: "DRAWBRIDGE_IMAGE_AGENT",
        default: "debian:trixie-slim",
        built: "bastion",
        shared: &[],
    },
];
const LOCALSTACK_LICENSED: &str = "localstack/localstack-pro:4.14.0";

impl Recipe {
    /// Returns the image that is pulled where the variable names none.
    fn default(&self) -> &'static str {
        let licensed = self.name == "localstack" && std::env::var_os(LOCALSTACK_TOKEN).is_some();
        if licensed { LOCALSTACK_LICENSED } else { self.default }
    }
}

/// An image that is on this machine.
pub(crate) struct Image {
    /// What it is: localstack, moto, postgres, bastion or agent.
    pub(crate) name: &'static str,
    /// The environment variable by which tests find it.
    pub(crate) variable: &'static str,
    /// What `docker run` takes.
    pub(crate) reference: String,
    /// Where it came from.
    pub(crate) origin: Origin,
}

/// What an image needs is not on this machine: exit 2.
#[derive(Debug)]
pub(crate) struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Where an image came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The environment variable names it.
    Override,
    /// The default image was here.
    Present,
    /// The default image was pulled just now.
    Pulled,
    /// Built from packages just now.
    Built,
    /// Built from the same packages and files before.
    Cached,
}

impl Origin {
    fn name(self) -> &'static str {
        match self {
            Origin::Override => "override",
            Origin::Present => "present",
            Origin::Pulled => "pulled",
            Origin::Built => "built",
            Origin::Cached => "cached",
        }
    }
}

/// Where images may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A registry if one answers, else packages.
    Any,
    /// Packages.
    Packages,
}

/// Gets or builds the images and prints how tests find them, as lines for a shell or as JSON.
pub(crate) fn run(sh: &Shell, images: &Images, json: bool) -> anyhow::Result<ExitCode> {
    let source = if images.build { Source::Packages } else { Source::Any };
    let images = resolve(sh, source)?;
    if json {
        let each: Vec<String> = images.iter().map(Image::json).collect();
        println!("{{\"images\":[{}]}}", each.join(","));
    } else {
        for image in &images {
            println!("export {}='{}' # {}", image.variable, image.reference, image.origin.name());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the five images, getting or building those that are not here; well under a second if all are.
///
/// # Errors
/// [`Missing`] if Docker does not answer, or what an image is built with is not here;
/// [`crate::workspace::Usage`] if a variable names an image that cannot be had.
pub(crate) fn resolve(sh: &Shell, source: Source) -> anyhow::Result<Vec<Image>> {
    docker::require(sh)?;
    let mut found = Vec::new();
    let mut wanted = Vec::new();
    for recipe in &RECIPES {
        match find(sh, recipe, source)? {
            Some(image) => found.push(image),
            None => wanted.push(recipe),
        }
    }
    if source == Source::Any {
        wanted = pull(&mut found, wanted);
    }
    let mut missing = Vec::new();
    for recipe in wanted {
        match find_built(sh, recipe)? {
            Some(image) => found.push(image),
            None => missing.push(recipe),
        }
    }
    if !missing.is_empty() {
        found.extend(build::all(sh, &missing)?);
    }
    found.sort_by_key(|image| RECIPES.iter().position(|recipe| recipe.name == image.name));
    Ok(found)
}

/// Returns the image if nothing has to be built for it, and nothing pulled but what its variable names.
fn find(sh: &Shell, recipe: &Recipe, source: Source) -> anyhow::Result<Option<Image>> {
    let image = |reference, origin| Image { name: recipe.name, variable: recipe.variable, reference, origin };
    if let Some(named) = std::env::var(recipe.variable).ok().filter(|named| !named.is_empty()) {
        if !docker::is_present(sh, &named) {
            eprintln!("images: {}: pulling {named}, which {} names", recipe.name, recipe.variable);
            docker::pull(&named).map_err(|error| docker::not_pulled(recipe.variable, &named, &error))?;
        }
        return Ok(Some(image(named, Origin::Override)));
    }
    let default = recipe.default();
    if source == Source::Any && docker::is_present(sh, default) {
        return Ok(Some(image(default.to_owned(), Origin::Present)));
    }
    // A token is no use to what is built here: the licensed image is worth asking for at every run.
    if source == Source::Any && default == LOCALSTACK_LICENSED {
        return Ok(None);
    }
    find_built(sh, recipe)
}

/// Returns the image if it was built from the same files before.
fn find_built(sh: &Shell, recipe: &Recipe) -> anyhow::Result<Option<Image>> {
    let reference = context::tag(sh, recipe)?;
    let (name, variable) = (recipe.name, recipe.variable);
    let built = docker::is_present(sh, &reference);
    Ok(built.then_some(Image { name, variable, reference, origin: Origin::Cached }))
}

/// Pulls what can be pulled into `found` and returns the rest. A registry that does not answer is asked once.
fn pull<'a>(found: &mut Vec<Image>, missing: Vec<&'a Recipe>) -> Vec<&'a Recipe> {
    let mut rest = Vec::new();
    let mut missing = missing.into_iter();
    for recipe in missing.by_ref() {
        let reference = recipe.default();
        eprintln!("images: {}: pulling {reference}", recipe.name);
        match docker::pull(reference) {
            Ok(()) => found.push(Image {
                name: recipe.name,
                variable: recipe.variable,
                reference: reference.to_owned(),
                origin: Origin::Pulled,
            }),
            Err(docker::PullError::Image(said)) => {
                eprintln!("images: {}: {said}", recipe.name);
                rest.push(recipe);
            }
            Err(docker::PullError::Registry(said)) => {
                eprintln!("images: no registry: {said}; building from packages instead");
                rest.push(recipe);
                break;
            }
        }
    }
    rest.extend(missing);
    rest
}

impl Image {
    fn json(&self) -> String {
        // References have no character that JSON escapes; a variable's value might.
        let reference: String = self.reference.chars().filter(|c| !c.is_control()).collect();
        let reference = reference.replace('\\', "\\\\").replace('"', "\\\"");
        format!(
            "{{\"name\":\"{}\",\"variable\":\"{}\",\"image\":\"{reference}\",\"from\":\"{}\"}}",
            self.name,
            self.variable,
            self.origin.name()
        )
    }
}
