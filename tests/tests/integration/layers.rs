//! Dependencies run one way only.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each of our packages may know of ours.
const MAY_KNOW: [(&str, &[&str]); 8] = [
    ("stack", &[]),
    ("tunnel", &[]),
    ("xtask", &[]),
    ("aws", &["stack"]),
    ("db", &["stack"]),
    ("sandbox", &["tunnel"]),
    ("deploy", &["stack", "tunnel", "xtask", "aws", "db", "sandbox"]),
    ("tests", &["stack", "tunnel", "xtask", "aws", "db", "sandbox", "deploy"]),
];

fn ours() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    metadata
        .packages
        .iter()
        .map(|package| {
            let known = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.path.is_some() && dependency.kind != DependencyKind::Unknown)
                .map(|dependency| dependency.name.to_string())
                .collect();
            (package.name.to_string(), known)
        })
        .collect()
}

#[test]
fn every_package_knows_only_the_layers_below_it() {
    let ours = ours();
    let listed: BTreeSet<&str> = MAY_KNOW.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, ours.keys().map(String::as_str).collect(), "a package is missing from the table above");
    for (name, may_know) in MAY_KNOW {
        for known in &ours[name] {
            assert!(may_know.contains(&known.as_str()), "`{name}` must not depend on `{known}`");
        }
    }
}

#[test]
fn only_aws_names_the_sdk() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    for package in metadata.packages.iter().filter(|package| *package.name != "aws") {
        for dependency in &package.dependencies {
            assert!(!dependency.name.starts_with("aws-"), "`{}` depends on `{}`", package.name, dependency.name);
        }
    }
}

#[test]
fn the_thin_xtask_stays_thin() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let xtask = metadata.packages.iter().find(|package| *package.name == "xtask").unwrap();
    let names: BTreeSet<&str> = xtask.dependencies.iter().map(|dependency| dependency.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["anyhow", "clap", "xshell"]));
}
