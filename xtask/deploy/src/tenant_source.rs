//! Reads the CSV file of tenants beside the stack file. A query for tenants runs in [`crate::tenants`].

use std::path::Path;

use db::link;
use stack::Stack;
use stack::config::ConfigError;
use stack::spec::Registry;

use crate::failure::{Exit, Failure};

/// Adds the tenants of the CSV file that the stack file names, if it names one.
///
/// # Errors
/// The file cannot be read, or something in it is wrong: exit 2, naming file, line and column.
pub fn read(stack: &mut Stack, stack_file: &Path) -> Result<(), Failure> {
    let Some(Registry::File(file)) = &stack.registry else { return Ok(()) };
    let path = stack_file.parent().unwrap_or(Path::new("")).join(file);
    let shown = path.display().to_string();
    link::check(&path)?;
    let bytes = std::fs::read(&path).map_err(|error| {
        Failure::usage(format!("cannot read the tenants' file `{shown}`: {error}"))
            .hint(format!("`file` under `[tenants]` in `{}` names it", stack_file.display()))
    })?;
    let tenants =
        stack::config::parse_tenants(&bytes, &shown, stack).map_err(|error| {
            match link::is_outside(&path, stack_file) {
                true => refuse_unseen(error),
                false => refuse(error),
            }
        })?;
    stack.tenants.extend(tenants);
    Ok(())
}

/// Returns a failure with the file, line and column of an error in it.
pub fn refuse(error: ConfigError) -> Failure {
    let help = error.help.clone();
    Failure::new(Exit::Usage, anyhow::Error::new(error)).hint(help)
}

/// As [`refuse`], without the file's content: a repository may name any file of the machine that reads it.
fn refuse_unseen(error: ConfigError) -> Failure {
    let ConfigError { file, line, column, .. } = error;
    Failure::usage(format!(
        "{file}:{line}:{column}: this is not a table of tenants; as the file lies outside of the repository, nothing of it is \
         shown"
    ))
    .hint("`file` under `[tenants]` in the stack file names it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenants_file_is_looked_for_beside_the_stack_file() {
        // Beside this test: a folder that all users share may hold another's of that name.
        let dir = std::env::current_exe()
            .unwrap()
            .with_file_name(format!("drawbridge-tenant-source-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let text = "project = \"a\"\nenvironment = \"b\"\nregion = \"us-east-1\"\n[[tenant]]\nname = \"one\"\n\
            [tenants]\nfile = \"tenants.csv\"\n";
        let mut stack = stack::config::parse(text, "stack.toml").unwrap();
        let file = dir.join("stack.toml");
        let missing = read(&mut stack, &file).unwrap_err();
        assert_eq!(missing.exit, Exit::Usage);
        std::fs::write(dir.join("tenants.csv"), "name\ntwo\none\n").unwrap();
        let twice = read(&mut stack, &file).unwrap_err().render_text();
        assert!(twice.contains("tenants.csv:3:1: `name`: tenant `one` is there twice"), "{twice}");
        std::fs::write(dir.join("tenants.csv"), "name\ntwo\nthree\n").unwrap();
        read(&mut stack, &file).unwrap();
        let names: Vec<&str> = stack.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        assert_eq!(names, ["one", "two", "three"]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
