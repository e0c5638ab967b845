//! Dependencies run one way only: between packages, and between the modules of each.

mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

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

/// Returns the folder that a package of ours lies in.
fn folder(package: &str) -> &str {
    match package {
        "stack" => "infra/stack",
        "tunnel" => "infra/tunnel",
        "aws" => "infra/aws",
        "sandbox" => "infra/sandbox",
        "deploy" => "xtask/deploy",
        same => same,
    }
}

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tells");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo tells")
}

/// Returns the direct dependencies of each of our packages: name, and whether it is ours.
fn packages() -> BTreeMap<String, Vec<(String, bool)>> {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--locked", "--format-version", "1"]))
            .expect("cargo tells");
    let name = |value: &Value| value["name"].as_str().expect("cargo tells").to_owned();
    let packages = metadata["packages"].as_array().expect("cargo tells").iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("cargo tells").iter();
            (name(package), dependencies.map(|one| (name(one), one["path"].is_string())).collect())
        })
        .collect()
}

#[test]
fn every_package_knows_only_the_layers_below_it() {
    let packages = packages();
    let listed: BTreeSet<&str> = MAY_KNOW.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        listed,
        packages.keys().map(String::as_str).collect(),
        "a package is missing from the table above"
    );
    for (name, may_know) in MAY_KNOW {
        for (known, _) in packages[name].iter().filter(|(_, ours)| *ours) {
            assert!(may_know.contains(&known.as_str()), "`{name}` must not depend on `{known}`");
        }
    }
}

#[test]
fn only_aws_names_the_sdk() {
    for (package, dependencies) in packages().iter().filter(|(name, _)| *name != "aws") {
        // aws-lc is cryptography: rustls is built on it, and knows no cloud.
        for (name, _) in dependencies.iter().filter(|(name, _)| !name.starts_with("aws-lc-")) {
            assert!(!name.starts_with("aws-"), "`{package}` depends on `{name}`");
        }
    }
}

#[test]
fn the_thin_xtask_stays_thin() {
    let packages = packages();
    let names: BTreeSet<&str> = packages["xtask"].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["anyhow", "clap", "xshell"]));
}

#[test]
fn the_tests_do_not_build_the_sdk_a_second_time() {
    let features = |selection: &[&str]| -> BTreeSet<String> {
        let format = ["--locked", "--prefix", "none", "--format", "{p} [{f}]"];
        let tree = cargo(&[&["tree"], selection, &format].concat());
        // What was shown before has a mark in the place of what it needs.
        tree.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let package = |line: &String| line.split(" [").next().unwrap_or_default().to_owned();
    let deploy = features(&["--package", "deploy", "--edges", "normal,build"]);
    let all = features(&["--workspace", "--edges", "normal,build,dev"]);
    let shared: BTreeSet<String> = deploy.iter().map(package).collect();
    let other: Vec<&String> =
        all.iter().filter(|line| shared.contains(&package(line)) && !deploy.contains(*line)).collect();
    assert!(other.is_empty(), "`cargo xtask test` would build these with other features: {other:#?}");
}

/// Returns what a page's tables name in their last column: tests as `module::function` or `function`, and files.
fn shown_by(page: &str) -> Vec<Vec<String>> {
    let rows =
        page.lines().filter(|line| line.starts_with("| ")).skip_while(|line| line.contains("shown by"));
    let last = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let codes = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    last.filter(|cell| *cell != "shown by").map(codes).collect()
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let root =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    let mut sources = String::new();
    for folder in ["tests", "infra", "db", "xtask"] {
        crate::flow::read_all(&root.join(folder), &mut sources);
    }
    for (file, least) in [("docs/scripts.md", 10), ("docs/safety.md", 60), ("docs/security.md", 20)] {
        let page = std::fs::read_to_string(root.join(file)).expect("the page is there");
        let rows = shown_by(&page);
        assert!(rows.len() > least, "{file} has only {} lines", rows.len());
        for codes in rows {
            assert!(!codes.is_empty(), "{file}: a line names no test");
            for code in codes {
                let name = code.rsplit("::").next().unwrap_or(&code);
                let is_there = match code.ends_with(".rs") {
                    true => root.join(&code).is_file(),
                    false => sources.contains(&format!("fn {name}(")),
                };
                assert!(is_there, "{file} names `{code}`, which is not there");
            }
        }
    }
}

/// A tag can be moved to other code, a commit cannot.
#[test]
fn every_action_is_named_by_its_commit() {
    let root =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    let mut used = 0;
    for folder in [".github/workflows", "docs"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            for line in text.lines() {
                let line = line.trim_start().trim_start_matches("- ");
                let Some(action) = line.strip_prefix("uses: ") else { continue };
                used += 1;
                let commit = action.split_once('@').map(|(_, rest)| rest.split(' ').next().unwrap_or(rest));
                let is_commit = commit.is_some_and(|commit| {
                    commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit())
                });
                assert!(is_commit && action.contains(" # v"), "{}: {line}", path.display());
            }
        }
    }
    assert!(used > 10, "only {used} were found");
}
