//! `aws-resources.env` as it is read, and what may be taken over of what it names.

use std::collections::BTreeMap;

use proptest::prelude::*;
use stack::adopt::{self, Candidate, Observed, Part};
use stack::spec::{RESOURCE_TAG, STACK_TAG};
use stack::{Inventory, Resource, Stack, env, plan};

use crate::fixture::{complete, stack, without_watch};

/// What, the file, a part of the message. `→` marks the place that the message must name.
const MALFORMED: &[(&str, &str, &str)] = &[
    ("command", "VPC_ID=vpc-0a1b2c3d\n→$(rm -rf /)\n", "no assignment"),
    ("command behind", "VPC_ID='vpc-0a1b2c3d'→; rm -rf /\n", "something follows the value of `VPC_ID`"),
    ("command behind a bare value", "VPC_ID=vpc-0a1b2c3d→;reboot\n", "not take as it is"),
    ("command in front", "→/bin/sh\n", "no assignment"),
    ("name alone", "VPC_ID→\n", "`=` does not follow `VPC_ID` at once"),
    ("space before", "VPC_ID→ = vpc-0a1b2c3d\n", "`=` does not follow `VPC_ID` at once"),
    ("space after", "VPC_ID= →vpc-0a1b2c3d\n", "something follows the value of `VPC_ID`"),
    ("source", "source→ other.env\n", "`=` does not follow `source` at once"),
    ("append", "VPC_ID→+=vpc-0a1b2c3d\n", "`=` does not follow `VPC_ID` at once"),
    ("array", "VPC_ID=→(vpc-0a1b2c3d)\n", "not take as it is"),
    ("name from a digit", "→1VPC=vpc-0a1b2c3d\n", "no assignment"),
    ("variable", "VPC_ID=\"→$VPC\"\n", "asks a shell for something"),
    ("variable in single quotes", "VPC_ID='→$VPC'\n", "asks a shell for something"),
    ("substitution", "VPC_ID=→`aws ec2`\n", "asks a shell for something"),
    ("substitution of another", "ELSE=\"a→$(id)\"\n", "asks a shell for something"),
    ("backslash", "VPC_ID=\"vpc→\\n\"\n", "not take as it is"),
    ("glob", "VPC_ID=vpc-→*\n", "not take as it is"),
    ("home", "VPC_ID=→~/vpc\n", "not take as it is"),
    ("open quote", "VPC_ID=→'vpc-0a1b2c3d\nRDS_PORT=5432'\n", "the quote after `VPC_ID=` is not closed"),
    ("open double quote", "VPC_ID=→\"vpc-0a1b2c3d\n", "is not closed"),
    ("two values", "VPC_ID='vpc-'→'0a1b2c3d'\n", "something follows"),
    ("comment that touches", "VPC_ID='vpc-0a1b2c3d'→#x\n", "something follows"),
    (
        "two assignments",
        "export VPC_ID=vpc-0a1b2c3d →RDS_PORT=1\n",
        "something follows the value of `VPC_ID`",
    ),
    ("there twice", "VPC_ID=vpc-0a1b2c3d\n\n→VPC_ID=vpc-0a1b2c3e\n", "on line 1 as well"),
    ("unknown twice", "ELSE=1\n→ELSE=1\n", "`ELSE` is there twice"),
    (
        "one for two",
        "PUBLIC_SUBNET_ID=subnet-0a1b2c3d\nPRIVATE_SUBNET_A_ID=→subnet-0a1b2c3d\n",
        "has the value of `PUBLIC_SUBNET_ID`",
    ),
    (
        "id of another kind",
        "VPC_ID=→subnet-0a1b2c3d\n",
        "`VPC_ID` is not an id of EC2 that begins with `vpc-`",
    ),
    ("id in capitals", "VPC_ID=→'vpc-0A1B2C3D'\n", "is not an id"),
    ("short id", "VPC_ID=→vpc-0a1\n", "is not an id"),
    ("long id", "VPC_ID=→vpc-0a1b2c3d0a1b2c3d00\n", "is not an id"),
    ("id and more", "BASTION_INSTANCE_ID=→\"i-0a1b2c3d i-0a1b2c3e\"\n", "is not an id"),
    ("name with a slash", "BASTION_ROLE_NAME=→a/b\n", "is not a name of at most 64"),
    (
        "long name",
        "RDS_INSTANCE_ID=→aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
        "at most 63",
    ),
    ("secret by name", "MASTER_SECRET_ARN=→rds/shop/master\n", "is not the ARN of a secret"),
    (
        "ARN of something else",
        "MASTER_SECRET_ARN=→arn:aws:iam::123456789012:role/x\n",
        "is not the ARN of a secret",
    ),
    (
        "ARN of a tenant",
        "TENANT_SECRET_ARN_ONE=→arn:aws:secretsmanager:us-east-1:1:secret:x\n",
        "is not the ARN of a secret",
    ),
    ("account", "AWS_ACCOUNT_ID=→12345\n", "not the twelve digits"),
    ("control character", "VPC_ID=vpc-0a1b2c3d→\u{1b}[2J\n", "control character, `\\u{1b}`"),
    ("lone carriage return", "VPC_ID=vpc-0a1b2c3d→\rRDS_PORT=1\n", "control character"),
    ("NUL", "VPC_ID=vpc→\0\n", "NUL byte"),
    ("byte order mark", "→\u{feff}VPC_ID=vpc-0a1b2c3d\n", "byte order mark"),
];

#[test]
fn every_hostile_file_is_refused_with_its_place_and_a_remedy() {
    for (what, text, part) in MALFORMED {
        let at = text.find('→').expect("the case marks a place");
        let line = text[..at].matches('\n').count() + 1;
        let column = text[..at].chars().rev().take_while(|c| *c != '\n').count() + 1;
        let error = adopt::parse(text.replacen('→', "", 1).as_bytes(), "a.env").expect_err(what);
        let message = error.to_string();
        assert!(message.starts_with(&format!("a.env:{line}:{column}: ")), "{what}: {message}");
        assert!(message.contains(part) && !error.help.is_empty(), "{what}: {message} ({})", error.help);
        assert!(!message.contains(|c: char| c.is_control()), "{what}: {message:?}");
    }
    let error = adopt::parse(b"A=1\nB='\xff'\n", "a.env").unwrap_err();
    assert_eq!(error.to_string(), "a.env:2:4: byte 0xff is not UTF-8");
}

#[test]
fn what_a_hand_writes_is_read() {
    let text = "# made by hand\r\n\r\n\texport VPC_ID=vpc-0a1b2c3d   # the vpc\r\n\
                PUBLIC_SUBNET_ID = ''\n"
        .replace(" = ", "=")
        + "export\tRDS_INSTANCE_ID=\"Webshop-Multi\"\nBASTION_INSTANCE_ID=\nDB_PASSWORD='hunter2; x'\n\
           AWS_REGION=us-east-1 #\nRDS_PORT=5432\nBASTION_ROLE_NAME=same\nBASTION_INSTANCE_PROFILE_NAME=same";
    let listing = adopt::parse(text.as_bytes(), "a.env").unwrap();
    let named: Vec<_> =
        listing.named.iter().map(|one| (one.variable.as_str(), one.line, one.id.as_str())).collect();
    let wanted = [
        ("VPC_ID", 3, "vpc-0a1b2c3d"),
        ("RDS_INSTANCE_ID", 5, "webshop-multi"),
        ("BASTION_ROLE_NAME", 10, "same"),
        ("BASTION_INSTANCE_PROFILE_NAME", 11, "same"),
    ];
    assert_eq!(named, wanted);
    assert_eq!(listing.region.unwrap().value, "us-east-1");
    assert_eq!(listing.unknown, [("DB_PASSWORD".to_owned(), 7)]);
    assert_eq!(adopt::parse(b"", "a.env").unwrap(), adopt::Listing::default());
}

#[test]
fn what_env_writes_is_read_whole() {
    let stack = stack();
    let mut inventory = complete(&stack);
    for secret in &mut inventory.secrets {
        secret.arn = format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{}-AbCdEf", secret.name);
    }
    let variables = env::variables(&stack, "123456789012", &inventory);
    let hex = |text: String| text.replace("-p'", "-0a1b2c3d'").replace("-a'", "-0a1b2c3e'");
    let hex = |text| hex(text).replace("-b'", "-0a1b2c3f'").replace("-q'", "-0a1b2c30'");
    let hex = |text| hex(text).replace("-d'", "-0a1b2c31'").replace("-1'", "-0a1b2c32'");
    let text = hex(env::render(&variables)).replace("us-east-0a1b2c32'", "us-east-1'");
    let listing = adopt::parse(text.as_bytes(), "a.env").unwrap();
    assert_eq!(listing.stack.unwrap().value, "webshop-test");
    assert_eq!(listing.unknown, []);
    // All but what says where it is, and the endpoint's three.
    assert_eq!(listing.named.len(), variables.len() - 3 - 3, "{text}");
    assert!(listing.named.iter().any(|one| one.part == Part::RoleSecret("two".to_owned())));
}

/// Returns the parts of a stack that nobody has tagged.
fn untagged(inventory: &Inventory) -> Vec<Candidate> {
    let part = |tag: &str| {
        let found = stack::resource::CREATE_ORDER.into_iter().find(|resource| resource.tag() == tag);
        Part::Of(found.unwrap())
    };
    let candidate = |part, id: &str, thing| Candidate {
        part,
        id: id.to_owned(),
        variable: Some("IT".to_owned()),
        tags: BTreeMap::new(),
        thing,
    };
    let mut all = Vec::new();
    let Inventory { vpcs, subnets, gateways, route_tables, groups, .. } = inventory.clone();
    all.extend(vpcs.into_iter().map(|one| candidate(part("vpc"), &one.id.clone(), Observed::Vpc(one))));
    all.extend(subnets.into_iter().map(|one| {
        let (part, id) = (part(&one.resource), one.id.clone());
        candidate(part, &id, Observed::Subnet(stack::inventory::Subnet { resource: String::new(), ..one }))
    }));
    all.extend(
        gateways
            .into_iter()
            .map(|one| candidate(part("internet-gateway"), &one.id.clone(), Observed::Gateway(one))),
    );
    all.extend(route_tables.into_iter().map(|one| {
        let (part, id) = (part(&one.resource), one.id.clone());
        candidate(part, &id, Observed::RouteTable(one))
    }));
    all.extend(groups.into_iter().map(|one| {
        let (part, id) = (part(&one.resource), one.id.clone());
        candidate(part, &id, Observed::Group(one))
    }));
    let group = inventory.subnet_group.clone().unwrap();
    let thing = Observed::SubnetGroup { group: group.clone(), arn: "arn".to_owned() };
    all.push(candidate(part("subnet-group"), &group.name, thing));
    let database = inventory.database.clone().unwrap();
    all.push(candidate(
        part("database"),
        &database.identifier.clone(),
        Observed::Database(Box::new(database)),
    ));
    for secret in &inventory.secrets {
        let part = match secret.name.rsplit('/').next().unwrap() {
            master if master.ends_with("master") => part("master-secret"),
            role => Part::RoleSecret(role.to_owned()),
        };
        let thing = Observed::Secret(stack::inventory::SecretEntry { tagged: false, ..secret.clone() });
        all.push(candidate(part, &secret.name, thing));
    }
    let role = inventory.role.clone().unwrap();
    let path = "/".to_owned();
    all.push(candidate(part("role"), &role.name.clone(), Observed::Role { role, path: path.clone() }));
    let profile = inventory.profile.clone().unwrap();
    all.push(candidate(part("profile"), &profile.name.clone(), Observed::Profile { profile, path }));
    let instance = Box::new(inventory.instances[0].clone());
    let thing = Observed::Instance { instance, agent: inventory.agent.clone(), companions: Vec::new() };
    all.push(candidate(part("instance"), "i-1", thing));
    all
}

fn written(stack: &Stack) -> Stack {
    let mut stack = stack.clone();
    stack.bastion.role = Some(stack.role_name());
    stack.bastion.profile = Some(stack.profile_name());
    stack
}

#[test]
fn a_whole_stack_that_nobody_tagged_is_one_with_nothing_to_do() {
    let stack = written(&without_watch());
    let candidates = untagged(&complete(&stack));
    let nothing = Inventory { image: Some("ami-1".into()), ..Inventory::default() };
    assert_eq!(adopt::objections(&stack, &nothing, &candidates), [] as [String; 0]);
    assert_eq!(adopt::unnamed(&stack, &candidates), []);
    assert_eq!(adopt::absent(&nothing, &candidates).len(), candidates.len());
    let after = adopt::hypothetical(&nothing, &candidates);
    let plan = plan::up(&stack, &after, &[]);
    assert!(plan.is_empty() && plan::drift(&stack, &after).is_empty(), "{:?}", plan.steps);
    assert_eq!(adopt::absent(&after, &candidates), [] as [String; 0]);
}

#[test]
fn the_stack_file_is_given_the_lines_that_it_lacks() {
    let stack = stack();
    let mut inventory = complete(&written(&stack));
    inventory.subnet_group.as_mut().unwrap().name = "old-subnets".into();
    inventory.database.as_mut().unwrap().identifier = "old-db".into();
    inventory.role.as_mut().unwrap().name = "old-role".into();
    let lines = |inventory: &Inventory| adopt::render_lines(&adopt::unnamed(&stack, &untagged(inventory)));
    // The profile has the right name and lies where nobody looks.
    let names = "[database]\nsubnet_group = \"old-subnets\"\nidentifier = \"old-db\"\n";
    let roles = "[bastion]\nrole = \"old-role\"\nprofile = \"webshop-test-us-east-1-bastion\"\n";
    assert_eq!(lines(&inventory), format!("{names}{roles}"));
    for secret in &mut inventory.secrets {
        secret.name = secret.name.replace("rds/webshop/multi-tenant-test", "old");
    }
    assert_eq!(lines(&inventory), format!("{names}secret_prefix = \"old\"\n{roles}"));
    inventory.secrets.retain(|secret| secret.name.ends_with("master"));
    inventory.secrets[0].name = "admin-master".into();
    let text = lines(&inventory);
    assert_eq!(text, format!("{names}master_secret = \"admin-master\"\n{roles}"));
    // And with these lines in it, the file names all of it.
    let head = "project = \"webshop\"\nenvironment = \"test\"\nregion = \"us-east-1\"\n";
    let stack = stack::config::parse(&format!("{head}{text}"), "stack.toml").unwrap();
    assert_eq!(adopt::unnamed(&stack, &untagged(&inventory)), []);
}

/// Roles and profiles of earlier versions lie above the region, and are found there.
#[test]
fn what_an_earlier_version_made_needs_no_line_and_what_another_region_has_is_refused() {
    let stack = without_watch();
    let mut candidates = untagged(&complete(&stack));
    for candidate in &mut candidates {
        if let Observed::Role { path, .. } | Observed::Profile { path, .. } = &mut candidate.thing {
            *path = stack.iam_root();
            candidate.id = "webshop-test-bastion".to_owned();
        }
    }
    assert_eq!(adopt::unnamed(&stack, &candidates), []);
    let nothing = Inventory::default();
    assert_eq!(adopt::objections(&stack, &nothing, &candidates), [] as [String; 0]);
    for candidate in &mut candidates {
        candidate.tags = [
            (STACK_TAG, stack.name.as_str()),
            ("drawbridge:resource", candidate.part.tag()),
            ("drawbridge:region", "us-west-2"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    }
    let refused = adopt::objections(&stack, &nothing, &candidates).join("; ");
    assert!(refused.contains("`webshop-test-bastion`") && refused.contains("in `us-west-2`"), "{refused}");
}

#[test]
fn what_is_somebody_elses_or_would_be_a_second_one_is_refused() {
    let stack = written(&stack());
    let whole = complete(&stack);
    let refused = |inventory: &Inventory, change: &dyn Fn(&mut Candidate)| {
        let mut candidates = untagged(&whole);
        candidates.iter_mut().for_each(change);
        adopt::objections(&stack, inventory, &candidates).join("; ")
    };
    let nothing = Inventory::default();
    let tag = |part: Resource, key: &'static str, value: &'static str| {
        move |one: &mut Candidate| {
            if one.part == Part::Of(part) {
                one.tags.insert(STACK_TAG.into(), "webshop-test".into());
                one.tags.insert(key.into(), value.into());
            }
        }
    };
    let text = refused(&nothing, &tag(Resource::Vpc, STACK_TAG, "other"));
    assert_eq!(text, "`vpc-1` (`IT`) belongs to stack `other`");
    let text = refused(&nothing, &tag(Resource::PublicSubnet, RESOURCE_TAG, "private-subnet-a"));
    assert_eq!(text, "`subnet-p` (`IT`) is the stack's `private-subnet-a` already");
    assert_eq!(refused(&nothing, &tag(Resource::Vpc, RESOURCE_TAG, "vpc")), "");

    let mut second = whole.clone();
    second.instances[0].id = "i-2".into();
    let text = refused(&second, &|_| ());
    assert_eq!(text, "`i-1` (`IT`) cannot be the bastion: the stack has `i-2`");
    let elsewhere = |one: &mut Candidate| {
        if let Observed::Group(group) = &mut one.thing {
            group.vpc = "vpc-2".into();
        }
    };
    assert!(refused(&nothing, &elsewhere).contains("`sg-b` (`IT`) is in `vpc-2`, not in `vpc-1`"));
    let path = |one: &mut Candidate| {
        if let Observed::Role { path, .. } = &mut one.thing {
            *path = "/service/".into();
        }
    };
    assert!(refused(&nothing, &path).contains("lies under the path `/service/`"));
    let scheduled = |one: &mut Candidate| {
        if let (Observed::Secret(secret), Part::Of(_)) = (&mut one.thing, &one.part) {
            secret.scheduled_for_deletion = true;
        }
    };
    assert!(refused(&nothing, &scheduled).contains("aws secretsmanager restore-secret"));
    let no_vpc: Vec<Candidate> =
        untagged(&whole).into_iter().filter(|one| one.part == Part::Of(Resource::PublicSubnet)).collect();
    let text = adopt::objections(&stack, &nothing, &no_vpc).join("; ");
    assert!(text.contains("add `VPC_ID='vpc-1'`"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_panic_or_a_place_outside_of_the_file(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = adopt::parse(&bytes, "a.env") {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            prop_assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
        }
    }

    #[test]
    fn no_message_shows_a_value(value in "[a-zA-Z0-9$`'\" ;]{6,20}Zq9x", quote in "['\"]?") {
        for name in ["VPC_ID", "ELSE", "MASTER_SECRET_ARN", "AWS_ACCOUNT_ID", "BASTION_ROLE_NAME"] {
            if let Err(error) = adopt::parse(format!("{name}={quote}{value}{quote}\n").as_bytes(), "a.env") {
                prop_assert!(!format!("{error}{}", error.help).contains("Zq9x"), "{error}");
            }
        }
    }

    #[test]
    fn what_is_read_is_what_a_shell_would_read(
        value in "[a-zA-Z0-9_./:=+@,%-]{1,30}", form in 0..3usize, export in any::<bool>(), crlf in any::<bool>(),
    ) {
        let quote = ["", "'", "\""][form];
        let (export, end) = (if export { "export " } else { "" }, if crlf { "\r\n" } else { "\n" });
        let text = format!("{export}AWS_REGION={quote}{value}{quote}{end}# end{end}");
        let listing = adopt::parse(text.as_bytes(), "a.env").unwrap();
        prop_assert_eq!(listing.region.unwrap().value, value);
    }
}
