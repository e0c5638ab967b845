//! No circle of modules in any crate: no module uses, directly or through others, a module that uses it.
//!
//! A module is a file, or a `mod` with a body. It uses another if it names a path that leads there, in a `use` or in its code.
//! A `pub use` is no such use: it says where a name is to be found, and whoever names it uses what it leads to. Modules that
//! exist for tests alone are left out, as are paths through a glob (`use a::*`), which no crate here re-exports but `xtask`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The segments of a path, from the crate's root.
type Name = Vec<String>;

/// What one module says.
#[derive(Debug, Default)]
struct Module {
    children: BTreeSet<String>,
    /// What it names: as the path stands there, from the crate's root.
    named: Vec<Name>,
    /// What this module alone calls by a name, and what that is.
    imports: BTreeMap<String, Name>,
    /// Paths of the code whose first segment is none of the language's words and no child: they may begin with an import.
    relative: Vec<Name>,
    /// What others may call by a name of this module's, and what that is.
    reexports: BTreeMap<String, Name>,
    /// Types and functions that the code calls by one word.
    words: BTreeSet<String>,
}

/// The modules of one crate.
#[derive(Debug, Default)]
struct Crate {
    modules: BTreeMap<Name, Module>,
}

impl Crate {
    /// Reads the crate whose root is that file.
    fn read(root: &Path) -> Crate {
        let mut read = Crate::default();
        let dir = root.parent().expect("the root lies in a folder");
        read.file(root, dir, Name::new());
        read
    }

    fn file(&mut self, path: &Path, dir: &Path, name: Name) {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.text(&text, dir, name);
    }

    fn text(&mut self, text: &str, dir: &Path, name: Name) {
        let tokens: TokenStream = text.parse().expect("the compiler reads it as well");
        self.module(tokens, dir, name);
    }

    /// Reads a module's tokens; `dir` holds the files of its children.
    fn module(&mut self, tokens: TokenStream, dir: &Path, name: Name) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let children =
            tokens.windows(2).filter(|pair| is(&pair[0], "mod")).filter_map(|pair| ident(&pair[1]));
        let mut module = Module { children: children.collect(), ..Module::default() };
        let mut below = Vec::new();
        scan(&tokens, &name, &mut module, &mut below);
        // A module that uses what it re-exports names it by that one word.
        let used = module.reexports.iter().filter(|(word, _)| module.words.contains(*word));
        let used = used.map(|(_, path)| path.clone());
        // `use crate::a;` and then `a::b::f()` uses `a::b`.
        let through = module.relative.iter().filter_map(|path| {
            let (first, rest) = path.split_first()?;
            Some(module.imports.get(first)?.iter().chain(rest).cloned().collect())
        });
        let used: Vec<Name> = used.chain(through).collect();
        module.named.extend(used);
        self.modules.insert(name.clone(), module);
        for (child, body) in below {
            let child_name: Name = name.iter().cloned().chain([child.clone()]).collect();
            match body {
                Some(body) => self.module(body, &dir.join(&child), child_name),
                None => {
                    let flat = dir.join(format!("{child}.rs"));
                    let path = if flat.exists() { flat } else { dir.join(&child).join("mod.rs") };
                    self.file(&path, &dir.join(&child), child_name);
                }
            }
        }
    }

    /// Returns the module that a path leads to, past all re-exports.
    fn home(&self, path: &[String], hops: usize) -> Option<Name> {
        let mut at = Name::new();
        for (index, segment) in path.iter().enumerate() {
            let module = self.modules.get(&at)?;
            // A function may have the name of a module: what goes on is the module.
            let is_module = index + 1 < path.len() && module.children.contains(segment);
            if let Some(meant) = module.reexports.get(segment).filter(|_| !is_module && hops < 8) {
                let rest = path[index + 1..].iter().cloned();
                let whole: Name = meant.iter().cloned().chain(rest).collect();
                // What comes from another crate is no module of this one.
                return self.home(&whole, hops + 1);
            }
            if !module.children.contains(segment) {
                break;
            }
            at.push(segment.clone());
        }
        Some(at)
    }

    /// Returns the modules that each module uses.
    fn arrows(&self) -> BTreeMap<&Name, BTreeSet<Name>> {
        let to = |from: &Name, module: &Module| -> BTreeSet<Name> {
            let homes = module.named.iter().filter_map(|path| self.home(path, 0));
            homes.filter(|home| home != from).collect()
        };
        self.modules.iter().map(|(name, module)| (name, to(name, module))).collect()
    }

    /// Returns the circles: sets of modules each of which uses each other, directly or through others.
    fn circles(&self) -> Vec<BTreeSet<Name>> {
        let arrows = self.arrows();
        let reached = |from: &Name| {
            let (mut seen, mut left) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(next) = left.pop() {
                for to in arrows.get(&next).into_iter().flatten() {
                    if seen.insert(to.clone()) {
                        left.push(to.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<&Name, BTreeSet<Name>> =
            arrows.keys().map(|name| (*name, reached(name))).collect();
        let circle = |name: &Name| -> BTreeSet<Name> {
            reached[name]
                .iter()
                .filter(|other| reached.get(other).is_some_and(|back| back.contains(name)))
                .cloned()
                .collect()
        };
        let circles: BTreeSet<BTreeSet<Name>> =
            arrows.keys().map(|name| circle(name)).filter(|one| one.len() > 1).collect();
        circles.into_iter().collect()
    }

    /// Returns the arrows within a set of modules, a line each.
    fn within(&self, circle: &BTreeSet<Name>) -> Vec<String> {
        let arrows = self.arrows();
        let mut lines = Vec::new();
        for from in circle {
            for to in arrows[from].intersection(circle) {
                let what: BTreeSet<String> = self.modules[from]
                    .named
                    .iter()
                    .filter(|path| self.home(path, 0).as_ref() == Some(to))
                    .map(|path| path.join("::"))
                    .collect();
                lines.push(format!(
                    "{} -> {}: {}",
                    from.join("::"),
                    to.join("::"),
                    what.into_iter().collect::<Vec<_>>().join(", ")
                ));
            }
        }
        lines
    }
}

fn ident(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    }
}

fn is(token: &TokenTree, text: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == text)
}

fn punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// Tells whether `::` begins at that token.
fn joins(tokens: &[TokenTree], at: usize) -> bool {
    punct(tokens.get(at), ':') && punct(tokens.get(at + 1), ':')
}

/// Goes through the tokens of a module, and of all blocks in it.
fn scan(
    tokens: &[TokenTree],
    here: &Name,
    module: &mut Module,
    below: &mut Vec<(String, Option<TokenStream>)>,
) {
    let mut at = 0;
    // Whether the item that begins here is for tests alone, or for others to name.
    let (mut is_test, mut is_public) = (false, false);
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                if let Some(TokenTree::Group(group)) = tokens.get(at + 1) {
                    is_test |= group.stream().to_string().replace(' ', "") == "cfg(test)";
                    at += 2;
                    continue;
                }
            }
            TokenTree::Ident(word) if word == "pub" => {
                is_public = true;
                let scope = tokens.get(at + 1);
                at += 1
                    + usize::from(
                        matches!(scope, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis),
                    );
                continue;
            }
            TokenTree::Ident(word) if word == "mod" && tokens.get(at + 1).and_then(ident).is_some() => {
                let child = ident(&tokens[at + 1]).expect("asked above");
                if is_test {
                    module.children.remove(&child);
                } else if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                    below.push((child, Some(body.stream())));
                } else {
                    below.push((child, None));
                }
                at += 3;
                (is_test, is_public) = (false, false);
                continue;
            }
            TokenTree::Ident(word) if word == "use" => {
                let end = at + tokens[at..].iter().position(|token| punct(Some(token), ';')).unwrap_or(1);
                let mut leaves = Vec::new();
                tree(&tokens[at + 1..end], &Name::new(), &mut leaves);
                for (path, alias) in leaves {
                    let Some(path) = absolute(&path, here, module) else { continue };
                    match (is_test, is_public) {
                        (true, _) => {}
                        (false, true) => drop(module.reexports.insert(alias, path)),
                        (false, false) => {
                            module.named.push(path.clone());
                            module.imports.insert(alias, path);
                        }
                    }
                }
                at = end + 1;
                (is_test, is_public) = (false, false);
                continue;
            }
            TokenTree::Ident(_) => {
                let mut path = Name::new();
                let begin = at;
                while let Some(word) = tokens.get(at).and_then(ident) {
                    path.push(word);
                    at += 1;
                    if !joins(tokens, at) {
                        break;
                    }
                    at += 2;
                }
                // After a dot it is a field or a method.
                let is_member = punct(begin.checked_sub(1).and_then(|before| tokens.get(before)), '.');
                if !is_member && !is_test {
                    let is_type = path[0].starts_with(char::is_uppercase);
                    let is_called = matches!(tokens.get(at), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
                    if path.len() > 1 {
                        match absolute(&path, here, module) {
                            Some(path) => module.named.push(path),
                            None => module.relative.push(path.clone()),
                        }
                    }
                    if is_type || (path.len() == 1 && is_called) {
                        module.words.insert(path.swap_remove(0));
                    }
                }
                is_public = false;
                continue;
            }
            TokenTree::Group(group) => {
                if !is_test {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    scan(&inner, here, module, below);
                }
                if group.delimiter() == Delimiter::Brace {
                    (is_test, is_public) = (false, false);
                }
            }
            TokenTree::Punct(sign) if sign.as_char() == ';' => (is_test, is_public) = (false, false),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
}

/// Returns the path from the crate's root; nothing if it leads out of the crate.
fn absolute(path: &[String], here: &Name, module: &Module) -> Option<Name> {
    let first = path.first()?;
    let mut base = match first.as_str() {
        "crate" => Name::new(),
        "self" | "super" => here.clone(),
        child if module.children.contains(child) => {
            return Some(here.iter().chain(path).cloned().collect());
        }
        _ => return None,
    };
    let mut rest = path;
    while let Some((word, others)) = rest.split_first() {
        match word.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            _ => break,
        }
        rest = others;
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// Returns the leaves of the tree of a `use`: what is named, and under what name.
fn tree(tokens: &[TokenTree], before: &Name, leaves: &mut Vec<(Name, String)>) {
    for branch in tokens.split(|token| punct(Some(token), ',')) {
        let mut path = before.clone();
        let mut alias = None;
        let mut is_leaf = !branch.is_empty();
        let mut at = 0;
        while at < branch.len() {
            match &branch[at] {
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    tree(&inner, &path, leaves);
                    is_leaf = false;
                }
                TokenTree::Ident(word) if word == "as" => {
                    alias = branch.get(at + 1).and_then(ident);
                    break;
                }
                // `a::{self}` names `a`.
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(sign) if sign.as_char() == '*' => alias = Some("*".to_owned()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
        if is_leaf && !path.is_empty() {
            let name = alias.unwrap_or_else(|| path[path.len() - 1].clone());
            leaves.push((path, name));
        }
    }
}

/// Returns the root file of each library of the workspace.
fn roots() -> Vec<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    super::MAY_KNOW.iter().map(|(name, _)| workspace.join(super::folder(name)).join("src/lib.rs")).collect()
}

#[test]
fn no_crate_has_a_circle_of_modules() {
    let mut found = Vec::new();
    for root in roots() {
        let read = Crate::read(&root);
        assert!(read.modules.len() > 1, "{}: nothing was read", root.display());
        for circle in read.circles() {
            found.push(format!("{}:\n  {}", root.display(), read.within(&circle).join("\n  ")));
        }
    }
    assert!(found.is_empty(), "move what both need into a module below them:\n{}", found.join("\n"));
}

/// Returns the circles of a crate of these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().expect("a folder can be made");
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }
    let read = Crate::read(&dir.path().join("lib.rs"));
    read.circles().iter().map(|circle| circle.iter().map(|name| name.join("::")).collect()).collect()
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let lib = ("lib.rs", "mod a; mod b; mod c; pub use self::b::B;");
    let nothing: [Vec<String>; 0] = [];
    // One way.
    assert_eq!(
        circles_of(&[lib, ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;"), ("c.rs", "")]),
        nothing
    );
    // There and back, by a `use`, by a path in the code, in a nested tree, and through a re-export.
    for back in [
        "use crate::a;",
        "fn f() { crate::a::g() }",
        "use crate::{a::{self, A}, c};",
        "fn f() { super::a::g() }",
    ] {
        for there in ["use crate::b::B;", "use crate::B;", "fn f(x: crate::B) {}", "use super::B as Other;"] {
            let circles = circles_of(&[lib, ("a.rs", there), ("b.rs", back), ("c.rs", "")]);
            assert_eq!(circles, [["a", "b"]], "{there} / {back}");
        }
    }
    // Through a third.
    let three = [lib, ("a.rs", "use crate::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use crate::a::A;")];
    assert_eq!(circles_of(&three), [["a", "b", "c"]]);
    // Through a module that is imported by its name.
    let nested = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub mod deep;"),
        ("a/deep.rs", "use crate::b::B;"),
        ("b.rs", "use crate::a; fn f() { a::deep::g() }"),
    ];
    assert_eq!(circles_of(&nested), [["a::deep", "b"]]);
    // A parent that calls its child, which takes its parent's type.
    let family =
        [("lib.rs", "mod a;"), ("a.rs", "mod b; struct A; fn f() { b::g() }"), ("a/b.rs", "use super::A;")];
    assert_eq!(circles_of(&family), [["a", "a::b"]]);
    // What is for tests alone, and what only says where a name is.
    let tests =
        "#[cfg(test)] mod tests { use crate::a; } #[cfg(test)] use crate::a::A; pub use crate::a::A as Same;";
    assert_eq!(circles_of(&[lib, ("a.rs", "use crate::b::B;"), ("b.rs", tests), ("c.rs", "")]), nothing);
}
