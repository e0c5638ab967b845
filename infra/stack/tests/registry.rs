//! Tenants in a CSV file.
//!
//! `→` in a text marks the place that the message must name; it is taken out before parsing.

use proptest::prelude::*;
use stack::Stack;
use stack::config::{ConfigError, FIELDS, Record, parse, parse_tenants, tenants};
use stack::spec::Tenant;

/// A stack with the tenants `known` and `sharing`, of which the second says itself that `both` owns it.
fn stack() -> Stack {
    let text = "project = \"webshop\"\nenvironment = \"test\"\nregion = \"us-east-1\"\n\
        [[tenant]]\nname = \"known\"\n[[tenant]]\nname = \"sharing\"\nowner = \"both\"\n";
    parse(text, "stack.toml").expect("the file is right")
}

fn read(text: &str) -> Result<Vec<Tenant>, ConfigError> {
    parse_tenants(text.as_bytes(), "tenants.csv", &stack())
}

#[test]
fn a_table_becomes_tenants_in_its_order() {
    let tenants = read(
        "purpose,name,owner,labels,migrations,encoding,locale\r\n\
         \"Shop, \"\"main\"\" one\",shop,both,beta; eu-1;,webshop,LATIN1,C\r\n\
         \r\n\
         \x20 , health ,\t,,,,\n\
         \"\",\"games\",,\"\",,,",
    )
    .unwrap();
    let names: Vec<&str> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    assert_eq!(names, ["shop", "health", "games"]);
    assert_eq!(tenants[0].purpose, "Shop, \"main\" one");
    assert_eq!((tenants[0].owner.as_str(), tenants[1].owner.as_str()), ("both", "health"));
    assert_eq!(tenants[0].labels, ["beta", "eu-1"]);
    assert_eq!(tenants[0].migrations.as_deref(), Some("webshop"));
    assert_eq!((tenants[0].encoding.as_str(), tenants[0].locale.as_str()), ("LATIN1", "C"));
    assert_eq!((tenants[2].encoding.as_str(), tenants[2].locale.as_str()), ("UTF8", "en_US.UTF-8"));
    assert!(tenants[1].labels.is_empty() && tenants[1].migrations.is_none());
}

#[test]
fn a_table_of_names_alone_is_enough_and_may_be_empty() {
    assert_eq!(read("name\n").unwrap(), []);
    assert_eq!(read("name\na\n\n  \nb\n").unwrap().len(), 2);
}

#[test]
fn thousands_of_tenants_are_read() {
    let rows: String = (0..5000).map(|number| format!("tenant_{number},purpose {number}\n")).collect();
    assert_eq!(read(&format!("name,purpose\n{rows}")).unwrap().len(), 5000);
}

/// Name, file, a part of the message.
const FILES: &[(&str, &str, &str)] = &[
    ("empty", "→", "the file has no header"),
    ("blank lines alone", "→\n\n  \n", "the file has no header"),
    ("byte order mark", "→\u{feff}name\na\n", "byte order mark"),
    ("NUL", "name\na→\0\n", "NUL byte"),
    ("no name", "→owner,purpose\na,b\n", "there is no column `name`"),
    ("unknown column", "name,→password\na,b\n", "unknown column `password`"),
    ("capital column", "→Name\na\n", "unknown column `Name`"),
    ("empty column", "name,→\na,\n", "unknown column ``"),
    ("column twice", "name,→name\na,b\n", "a second column `name`"),
    ("semicolons", "→name;owner\na;b\n", "unknown column `name;owner`"),
    ("tabs", "→name\towner\na\tb\n", "unknown column `name\\towner`"),
    ("hostile column", "name,→\"a\u{1b}[2J\"\na,b\n", "`a\\u{1b}[2J`"),
    ("no header", "→shop,Main\n", "unknown column `shop`"),
    ("value too many", "name,owner\na,b,→c\n", "3 values under 2 columns"),
    ("value too few", "name,owner,purpose\na,b,c\n→a,b\n", "2 values under 3 columns"),
    ("quote never closed", "name\n→\"a\nb\n", "a quote that is never closed"),
    ("quote in the middle", "name\na→\"b\n", "a quote in the middle"),
    ("text after a quote", "name\n\"a\"→b\n", "text after the closing quote"),
    ("quote after spaces", "name,owner\na, \"b\" →x\n", "text after the closing quote"),
    ("empty name", "name,owner\n→,b\n", "`name`: tenant name `` is empty"),
    ("empty name in quotes", "name\n→\"\"\n", "`name`: tenant name `` is empty"),
    ("hyphen", "name\na\n→web-shop\n", "`name`: tenant name `web-shop` has `-` in it"),
    ("injection", "name\n→\"a\"\"; DROP DATABASE x; --\"\n", "`a\"; DROP DATABASE x; --` has `\"` in it"),
    ("single quote", "name\n→a'b\n", "has `'` in it"),
    ("newline in a name", "name\n→\"a\nb\"\n", "`a\\nb` has `\\n` in it"),
    ("carriage returns alone", "→name\ra\rb\r", "unknown column `name\\ra\\rb`"),
    ("escape sequence", "name\n→a\u{1b}[2J\n", "`a\\u{1b}[2J`"),
    ("text turned round", "name\n→a\u{202e}b\n", "`a\\u{202e}b`"),
    ("letter beyond ASCII", "name,owner\n→büro,b\n", "has `ü` in it"),
    ("column after wide letters", "purpose,name\nä€ü,→B\n", "has `B` in it"),
    ("formula", "name\n→=cmd|' /C calc'!A0\n", "has `=` in it"),
    ("reserved", "name\n→postgres\n", "`postgres` is reserved by PostgreSQL"),
    ("reserved by RDS", "name\n→rdsadmin\n", "reserved by RDS"),
    ("owner is the master", "name,owner\na,→dbadmin\n", "`owner`: role name `dbadmin` is the master user's"),
    ("hostile owner", "owner,name\n→\"a; --\",a\n", "`owner`: role name `a; --` has `;` in it"),
    ("name that cannot be a role", "name,owner\n→public,\n", "`name`: role name `public` is reserved"),
    ("unknown encoding", "name,encoding\na,→utf-8\n", "`encoding`: `utf-8` is not an encoding"),
    ("encoding against locale", "name,encoding\na,→LATIN1\n", "does not go with"),
    ("hostile locale", "name,locale\na,→C'; --\n", "`locale`: `C'; --` is not a locale"),
    ("purpose of two lines", "name,purpose\na,→\"b\nc\"\n", "`purpose`: purpose `b\\nc` has a control"),
    ("hostile label", "name,labels\na,→b;c d\n", "`labels`: label `c d` has ` ` in it"),
    ("label twice", "name,labels\na,→b;b\n", "`labels`: label `b` is there twice"),
    ("set with a path", "name,migrations\na,→../../etc\n", "`migrations`: `../../etc` cannot be a set"),
    ("set with capitals", "name,migrations\na,→Shop\n", "`migrations`: `Shop` cannot be a set"),
    ("unknown rotation", "name,rotation\na,→weekly\n", "`rotation`: `weekly` is not a way to rotate"),
    (
        "second user of the file's",
        "name,rotation\na,two-users\n→a_clone,\n",
        "`name`: role `a_clone` is the second user of tenant `a`",
    ),
    ("twice in the file", "name\na\nb\n→a\n", "`name`: tenant `a` is there twice"),
    ("in the stack file already", "name\na\n→known\n", "`name`: tenant `known` is there twice"),
    (
        "owner of the stack file's",
        "name,owner\na,→known\n",
        "`owner`: role `known` owns tenant `known` as well",
    ),
    ("owner shared by accident", "name,owner\na,\nb,→a\n", "`owner`: role `a` owns tenant `a` as well"),
    ("name is another's owner", "name\n→both\n", "`name`: role `both` owns tenant `sharing` as well"),
];

#[test]
fn every_malformed_table_is_refused_with_its_place_and_a_remedy() {
    let long = [
        ("name of 64 bytes", format!("name\n→{}\n", "a".repeat(64)), "PostgreSQL's 63 bytes"),
        ("name of 10,000 letters", format!("name\n→{}\n", "a".repeat(10_000)), "(10000 characters)"),
        ("long purpose", format!("name,purpose\na,→{}\n", "b".repeat(201)), "longer than 200"),
        ("column of 10,000 letters", format!("→{}\n", "a".repeat(10_000)), "(10000 characters)"),
    ];
    let files = FILES.iter().map(|(name, text, part)| (*name, (*text).to_owned(), *part)).chain(long);
    let mut wrong = Vec::new();
    for (name, text, part) in files {
        let at = text.find('→').expect("the case marks a place");
        let line = text[..at].matches('\n').count() + 1;
        let column = text[..at].chars().rev().take_while(|c| *c != '\n').count() + 1;
        let error = read(&text.replacen('→', "", 1)).expect_err(name);
        let message = error.to_string();
        let is_right = message.starts_with(&format!("tenants.csv:{line}:{column}: "))
            && message.contains(part)
            && !error.help.is_empty()
            && message.chars().count() < 400
            && !message.contains(|c: char| c.is_control() || c == '\u{202e}');
        if !is_right {
            wrong.push(format!(
                "{name}: wanted {line}:{column} and `{part}`, got {message:?} ({})",
                error.help
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bytes_that_are_not_utf8_are_refused_at_their_place() {
    let error = parse_tenants(b"name\na\nb\xff\n", "tenants.csv", &stack()).unwrap_err();
    assert_eq!(error.to_string(), "tenants.csv:3:2: byte 0xff is not UTF-8");
}

#[test]
fn a_role_may_own_tenants_of_two_sources_if_each_of_them_says_so() {
    assert_eq!(read("name,owner\na,both\nb,both\n").unwrap().len(), 2);
}

#[test]
fn records_of_any_source_are_held_to_the_same_rules() {
    let record = |name: &str| Record { name: name.to_owned(), ..Record::default() };
    let fault = tenants(&[record("a"), record("B")], &[], "dbadmin").unwrap_err();
    assert_eq!((fault.record, fault.field), (1, "name"));
    let mut all = Record::default();
    let two = Record { rotation: Some("two-users".to_owned()), ..record("a") };
    let two = tenants(&[two], &[], "dbadmin").unwrap().remove(0);
    assert_eq!((two.user(None), two.user(Some("a_clone")), two.user(Some("b_clone"))), ("a", "a_clone", "a"));
    assert!(FIELDS.iter().all(|field| all.set(field, "x")) && !all.set("password", "x"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_panic_or_a_place_outside(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(name|owner|purpose|a|b_1|\"|\"\"|,|;|\n|\r\n| |ü){0,40}".prop_map(String::into_bytes),
            "name,labels\n(a|b|\"|,|;|\n|-){0,20}".prop_map(String::into_bytes),
        ],
    ) {
        if let Err(error) = parse_tenants(&bytes, "tenants.csv", &stack()) {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            prop_assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
            prop_assert!(!error.message.is_empty() && !error.help.is_empty());
        }
    }

    #[test]
    fn whatever_is_quoted_as_the_rfc_says_comes_back(purposes in prop::collection::vec("[ -~é]{0,20}", 1..8)) {
        let rows: String = purposes
            .iter()
            .enumerate()
            .map(|(number, purpose)| format!("t{number},\"{}\"\n", purpose.replace('"', "\"\"")))
            .collect();
        let tenants = read(&format!("name,purpose\n{rows}")).unwrap();
        let back: Vec<&str> = tenants.iter().map(|tenant| tenant.purpose.as_str()).collect();
        prop_assert_eq!(back, purposes);
    }
}
