//! Malformed stack files: each is refused with its place, and with words that help.
//!
//! `→` in a text marks the place that the message must name; it is taken out before parsing.

use proptest::prelude::*;
use stack::config::{ConfigError, parse, parse_bytes};

const HEAD: &str = "project = \"webshop\"\nenvironment = \"test\"\nregion = \"us-east-1\"\n";

/// The file around it is right: name, the rest of the file, a part of the message.
const BODIES: &[(&str, &str, &str)] = &[
    // Notation
    ("no value", "[database]\nport =→\n", "not TOML"),
    ("bare word", "[database]\nclass = →db.t4g.small\n", "not TOML"),
    ("open string", "[database]\nclass = \"db.t4g.small→\n", "not TOML"),
    ("open header", "[database→\nport = 5432\n", "not TOML"),
    ("open list", "[network]\nzones = [\"us-east-1a\", \"us-east-1b\"→\n", "not TOML"),
    ("key twice", "[database]\nport = 5432\n→port = 5433\n", "duplicate key"),
    ("table twice", "[database]\nport = 5432\n[→database]\nclass = \"db.t4g.small\"\n", "duplicate key"),
    ("bad escape", "[[tenant]]\nname = \"a\\→q\"\n", "not TOML"),
    ("line break in a string", "[[tenant]]\nname = \"a→\nb\"\n", "not TOML"),
    ("control character", "[[tenant]]\nname = \"a→\u{1}\"\n", "not TOML"),
    ("NUL", "[[tenant]]\nname = \"a→\0\"\n", "NUL byte"),
    ("yaml", "database→:\n  port: 5432\n", "not TOML"),
    // Unknown keys
    ("unknown top key", "→colour = \"red\"\n", "unknown key `colour`"),
    ("misspelt table", "[→databse]\nport = 5432\n", "unknown key `databse`"),
    ("plural table", "→[[tenants]]\nname = \"a\"\n", "`tenants` must be a table, not a list"),
    ("misspelt database key", "[database]\n→clas = \"db.t4g.small\"\n", "unknown key `clas` in `[database]`"),
    ("unknown network key", "[network]\n→nat = true\n", "unknown key `nat` in `[network]`"),
    ("unknown bastion key", "[bastion]\n→ssh_key = \"a\"\n", "unknown key `ssh_key` in `[bastion]`"),
    ("unknown alarm key", "[alarms]\n→phone = \"1\"\n", "unknown key `phone` in `[alarms]`"),
    (
        "unknown tenant key",
        "[[tenant]]\nname = \"a\"\n→password = \"x\"\n",
        "unknown key `password` in `[[tenant]]`",
    ),
    ("key of another table", "[bastion]\n→port = 5432\n", "unknown key `port` in `[bastion]`"),
    ("hostile key", "→\"a\\nb\\u001b[31m\" = 1\n", "unknown key `a\\nb\\u{1b}[31m`"),
    ("first unknown key in the file", "→zebra = 1\naardvark = 2\n", "unknown key `zebra`"),
    ("dotted unknown key", "database.→prot = 5432\n", "unknown key `prot`"),
    // Wrong types
    ("port as text", "[database]\nport = →\"5432\"\n", "`port` must be a whole number, not a string"),
    ("port with fraction", "[database]\nport = →5432.0\n", "not a number with a fraction"),
    ("class as number", "[database]\nclass = →4\n", "`class` must be a string, not a whole number"),
    (
        "flag as text",
        "[database]\nmulti_az = →\"yes\"\n",
        "`multi_az` must be `true` or `false`, not a string",
    ),
    (
        "flag as number",
        "[database]\ndeletion_protection = →1\n",
        "`deletion_protection` must be `true` or `false`",
    ),
    ("zones as text", "[network]\nzones = →\"us-east-1a\"\n", "`zones` must be a list of two strings"),
    ("zones of numbers", "[network]\nzones = [→1, 2]\n", "`zones` must be a list of two strings"),
    ("name as date", "[[tenant]]\nname = →2026-11-23\n", "`name` must be a string, not a date"),
    ("name as list", "[[tenant]]\nname = →[\"a\"]\n", "`name` must be a string, not a list"),
    ("name as table", "[[tenant]]\nname = →{ a = 1 }\n", "`name` must be a string, not a table"),
    ("duration as number", "[bastion]\nready_within = →300\n", "`ready_within` must be a string"),
    ("database as text", "database = →\"rds\"\n", "`database` must be a table, not a string"),
    ("database as list", "→[[database]]\nport = 5432\n", "`database` must be a table, not a list"),
    ("tenant as table", "→[tenant]\nname = \"a\"\n", "`tenant` must be a list of tables, not a table"),
    ("tenant as names", "tenant = [→\"a\", \"b\"]\n", "`tenant` must be a list of tables, not a string"),
    ("version as number", "[database]\nengine_version = →16\n", "`engine_version` must be a string"),
    // Who else may connect
    (
        "allowed group by name",
        "[database]\nallow_groups = [→\"app\"]\n",
        "`app` is not the id of a security group",
    ),
    ("allowed group too short", "[database]\nallow_groups = [→\"sg-12\"]\n", "`sg-12` is not the id"),
    (
        "allowed group in capitals",
        "[database]\nallow_groups = [→\"sg-0123456789ABCDEF0\"]\n",
        "is not the id of a security group",
    ),
    (
        "allowed group twice",
        "[database]\nallow_groups = [\"sg-01234567\", →\"sg-01234567\"]\n",
        "`sg-01234567` is there twice in `allow_groups`",
    ),
    ("allowed group alone", "[database]\nallow_groups = →\"sg-01234567\"\n", "must be a list of strings"),
    ("allowed group under network", "[network]\n→allow_groups = []\n", "unknown key `allow_groups`"),
    ("everybody allowed", "[database]\nallow_cidrs = [→\"0.0.0.0/0\"]\n", "lets everybody in"),
    ("half of everybody allowed", "[database]\nallow_cidrs = [→\"0.0.0.0/1\"]\n", "is not a private range"),
    ("public range allowed", "[database]\nallow_cidrs = [→\"203.0.113.0/24\"]\n", "is not a private range"),
    ("more than a private range", "[database]\nallow_cidrs = [→\"10.0.0.0/7\"]\n", "is not a private range"),
    ("IPv6 allowed", "[database]\nallow_cidrs = [→\"fd00::/8\"]\n", "`fd00::/8` is IPv6"),
    ("allowed range with host bits", "[database]\nallow_cidrs = [→\"10.1.0.1/16\"]\n", "has host bits set"),
    ("allowed address", "[database]\nallow_cidrs = [→\"10.1.0.1\"]\n", "has no prefix length"),
    ("allowed word", "[database]\nallow_cidrs = [→\"office\"]\n", "`office` is not an IPv4 range"),
    (
        "allowed range twice",
        "[database]\nallow_cidrs = [\"10.1.0.0/16\", →\"10.1.0.0/16\"]\n",
        "`10.1.0.0/16` is there twice in `allow_cidrs`",
    ),
    // Missing keys
    ("tenant without a name", "→[[tenant]]\npurpose = \"x\"\n", "`name` is missing in `[[tenant]]`"),
    ("second tenant without a name", "[[tenant]]\nname = \"a\"\n\n→[[tenant]]\n", "`name` is missing"),
    ("alarms that tell nobody", "→[alarms]\nenabled = true\n", "`email` is missing in `[alarms]`"),
    // Tenants
    (
        "duplicate tenant",
        "[[tenant]]\nname = \"a\"\n[[tenant]]\nname = →\"a\"\n",
        "tenant `a` is there twice",
    ),
    ("empty name", "[[tenant]]\nname = →\"\"\n", "tenant name `` is empty"),
    ("capital letter", "[[tenant]]\nname = →\"Webshop\"\n", "has `W` in it"),
    ("hyphen", "[[tenant]]\nname = →\"web-shop\"\n", "has `-` in it"),
    ("space", "[[tenant]]\nname = →\"web shop\"\n", "has ` ` in it"),
    ("leading digit", "[[tenant]]\nname = →\"1shop\"\n", "starts with a digit"),
    ("letter beyond ASCII", "[[tenant]]\nname = →\"büro\"\n", "has `ü` in it"),
    (
        "injection",
        "[[tenant]]\nname = →'a\"; DROP DATABASE x; --'\n",
        "tenant name `a\"; DROP DATABASE x; --` has `\"` in it",
    ),
    ("single quote", "[[tenant]]\nname = →\"a'b\"\n", "has `'` in it"),
    ("newline", "[[tenant]]\nname = →\"a\\nb\"\n", "`a\\nb` has `\\n` in it"),
    ("escape sequence", "[[tenant]]\nname = →\"a\\u001b[2J\"\n", "`a\\u{1b}[2J`"),
    ("escaped NUL", "[[tenant]]\nname = →\"a\\u0000\"\n", "`a\\0`"),
    ("text turned round", "[[tenant]]\nname = →\"a\\u202eb\"\n", "`a\\u{202e}b`"),
    ("path", "[[tenant]]\nname = →\"../../etc\"\n", "has `.` in it"),
    ("dollar", "[[tenant]]\nname = →\"$(id)\"\n", "has `$` in it"),
    (
        "reserved postgres",
        "[[tenant]]\nname = →\"postgres\"\n",
        "tenant name `postgres` is reserved by PostgreSQL",
    ),
    ("reserved template0", "[[tenant]]\nname = →\"template0\"\n", "`template0` is reserved by PostgreSQL"),
    ("reserved template1", "[[tenant]]\nname = →\"template1\"\n", "`template1` is reserved by PostgreSQL"),
    ("reserved template", "[[tenant]]\nname = →\"template_shop\"\n", "`template_shop` is reserved"),
    ("reserved rdsadmin", "[[tenant]]\nname = →\"rdsadmin\"\n", "`rdsadmin` is reserved by RDS"),
    ("reserved rds", "[[tenant]]\nname = →\"rds_shop\"\n", "`rds_shop` is reserved by RDS"),
    ("reserved pg_", "[[tenant]]\nname = →\"pg_shop\"\n", "`pg_shop` is reserved by PostgreSQL"),
    ("owner public", "[[tenant]]\nname = \"a\"\nowner = →\"public\"\n", "role name `public` is reserved"),
    ("owner none", "[[tenant]]\nname = \"a\"\nowner = →\"none\"\n", "role name `none` is reserved"),
    (
        "owner postgres",
        "[[tenant]]\nname = \"a\"\nowner = →\"postgres\"\n",
        "role name `postgres` is reserved",
    ),
    ("owner pg_", "[[tenant]]\nname = \"a\"\nowner = →\"pg_read_all_data\"\n", "reserved by PostgreSQL"),
    ("owner rds", "[[tenant]]\nname = \"a\"\nowner = →\"rds_superuser\"\n", "reserved by RDS"),
    ("owner is the master", "[[tenant]]\nname = \"a\"\nowner = →\"dbadmin\"\n", "is the master user's"),
    ("owner named master", "[[tenant]]\nname = \"a\"\nowner = →\"master\"\n", "the master user's secret"),
    ("name that cannot be a role", "[[tenant]]\nname = →\"public\"\n", "role name `public` is reserved"),
    ("hostile owner", "[[tenant]]\nname = \"a\"\nowner = →\"a; --\"\n", "role name `a; --` has `;` in it"),
    (
        "owner shared by accident",
        "[[tenant]]\nname = \"a\"\n[[tenant]]\nname = \"b\"\nowner = →\"a\"\n",
        "role `a` owns tenant `a` as well",
    ),
    (
        "owner taken from a later tenant",
        "[[tenant]]\nname = \"a\"\nowner = \"b\"\n[[tenant]]\nname = →\"b\"\n",
        "role `b` owns tenant `a` as well",
    ),
    ("unknown encoding", "[[tenant]]\nname = \"a\"\nencoding = →\"utf-8\"\n", "not an encoding"),
    ("encoding against locale", "[[tenant]]\nname = \"a\"\nencoding = →\"LATIN1\"\n", "does not go with"),
    ("hostile locale", "[[tenant]]\nname = \"a\"\nlocale = →\"C'; --\"\n", "is not a locale"),
    ("empty locale", "[[tenant]]\nname = \"a\"\nlocale = →\"\"\n", "is not a locale"),
    ("purpose of two lines", "[[tenant]]\nname = \"a\"\npurpose = →\"a\\nb\"\n", "control character"),
    (
        "label as number",
        "[[tenant]]\nname = \"a\"\nlabels = [\"b\", →1]\n",
        "`labels` must be a list of strings",
    ),
    (
        "hostile label",
        "[[tenant]]\nname = \"a\"\nlabels = [\"b\", →\"c; --\"]\n",
        "label `c; --` has `;` in it",
    ),
    ("label of a dash", "[[tenant]]\nname = \"a\"\nlabels = [→\"-a\"]\n", "does not start with"),
    (
        "set with a path",
        "[[tenant]]\nname = \"a\"\nmigrations = →\"../x\"\n",
        "cannot be a set of migrations",
    ),
    (
        "rotation of a third kind",
        "[[tenant]]\nname = \"a\"\nrotation = →\"three-users\"\n",
        "`three-users` is not a way to rotate passwords",
    ),
    (
        "no room for a second user's name",
        "[[tenant]]\nname = \"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffff\"\nrotation = →\"two-users\"\n",
        "is longer than PostgreSQL's 63 bytes",
    ),
    (
        "second user is the master",
        "[database]\nmaster_user = \"a_clone\"\n[[tenant]]\nname = \"a\"\nrotation = →\"two-users\"\n",
        "`a_clone` is the master user's",
    ),
    (
        "owner is a second user",
        "[[tenant]]\nname = \"a\"\nrotation = \"two-users\"\n[[tenant]]\nname = \"b\"\nowner = →\"a_clone\"\n",
        "role `a_clone` is the second user of tenant `a`",
    ),
    (
        "second user is an owner",
        "[[tenant]]\nname = \"a_clone\"\n[[tenant]]\nname = \"a\"\nrotation = →\"two-users\"\n",
        "its second user `a_clone` owns tenant `a_clone`",
    ),
    (
        "one role rotated in two ways",
        "[[tenant]]\nname = \"a\"\nowner = \"c\"\n[[tenant]]\nname = \"b\"\nowner = \"c\"\nrotation = →\"two-users\"\n",
        "role `c` is rotated in another way in tenant `a`",
    ),
    ("empty set", "[[tenant]]\nname = \"a\"\nmigrations = →\"\"\n", "cannot be a set of migrations"),
    // Other sources of tenants
    ("registry of nothing", "→[tenants]\n", "`file` is missing in `[tenants]`"),
    ("registry with a name", "[tenants]\n→name = \"a\"\n", "unknown key `name` in `[tenants]`"),
    ("two sources", "[tenants]\nfile = \"a.csv\"\nquery = →\"SELECT 1\"\n", "are two sources"),
    ("empty path", "[tenants]\nfile = →\"\"\n", "is not a path"),
    ("path with a line", "[tenants]\nfile = →\"a\\nb\"\n", "is not a path"),
    ("query that writes", "[tenants]\nquery = →\"DELETE FROM t\"\n", "`DELETE FROM t` is not a query"),
    ("empty query", "[tenants]\nquery = →\"\"\n", "is not a query"),
    // Migrations
    ("unknown migrate key", "[migrate]\n→wave = [\"rest\"]\n", "unknown key `wave` in `[migrate]`"),
    ("waves as text", "[migrate]\nwaves = →\"rest\"\n", "`waves` must be a list of strings, not a string"),
    ("waves of numbers", "[migrate]\nwaves = [→5, \"rest\"]\n", "`waves` must be a list of strings"),
    ("waves without an end", "[migrate]\nwaves = →[\"canary\", \"5%\"]\n", "does not end with `rest`"),
    ("no waves", "[migrate]\nwaves = →[]\n", "does not end with `rest`"),
    ("wave after the rest", "[migrate]\nwaves = [\"rest\", →\"5%\"]\n", "`5%` comes after `rest`"),
    ("rest twice", "[migrate]\nwaves = [\"rest\", →\"rest\"]\n", "wave `rest` is there twice"),
    ("label twice", "[migrate]\nwaves = [\"a\", →\"a\", \"rest\"]\n", "wave `a` is there twice"),
    ("share of nothing", "[migrate]\nwaves = [→\"0%\", \"rest\"]\n", "`0%` is not a share"),
    ("share of all", "[migrate]\nwaves = [→\"100%\", \"rest\"]\n", "`100%` is not a share"),
    ("share with a fraction", "[migrate]\nwaves = [→\"2.5%\", \"rest\"]\n", "`2.5%` is not a share"),
    ("share with a sign", "[migrate]\nwaves = [→\"+5%\", \"rest\"]\n", "`+5%` is not a share"),
    ("hostile wave", "[migrate]\nwaves = [→\"a'; --\", \"rest\"]\n", "label `a'; --` has `'` in it"),
    ("empty wave", "[migrate]\nwaves = [→\"\", \"rest\"]\n", "label `` does not start with a letter"),
    ("negative budget", "[migrate]\nerror_budget = →-1\n", "`error_budget` is `-1`, outside of"),
    ("budget as share", "[migrate]\nerror_budget = →\"5%\"\n", "`error_budget` must be a whole number"),
    ("no jobs", "[migrate]\njobs = →0\n", "`jobs` is `0`, outside of 1 to 1000"),
    ("unknown reaction", "[migrate]\non_error = →\"abort\"\n", "`on_error` is `abort`"),
    ("labels as text", "[[tenant]]\nname = \"a\"\nlabels = →\"canary\"\n", "must be a list of strings"),
    ("label as a wave", "[[tenant]]\nname = \"a\"\nlabels = [→\"rest\"]\n", "the name of the last wave"),
    (
        "label of its own twice",
        "[[tenant]]\nname = \"a\"\nlabels = [\"b\", →\"b\"]\n",
        "label `b` is there twice",
    ),
    ("capital label", "[[tenant]]\nname = \"a\"\nlabels = [→\"bETA\"]\n", "label `bETA` has `E` in it"),
    // Network
    ("no prefix", "[network]\ncidr = →\"10.42.0.0\"\n", "has no prefix length"),
    ("bad address", "[network]\ncidr = →\"10.42.0/16\"\n", "is not an IPv4 address"),
    ("words as range", "[network]\ncidr = →\"my network\"\n", "is not an IPv4 range"),
    ("IPv6", "[network]\ncidr = →\"fd00::/56\"\n", "is not an IPv4 address"),
    ("prefix beyond 32", "[network]\ncidr = →\"10.42.0.0/33\"\n", "not a prefix length"),
    ("host bits", "[network]\ncidr = →\"10.42.0.1/16\"\n", "host bits set"),
    ("VPC too large", "[network]\ncidr = →\"10.0.0.0/8\"\n", "larger than AWS allows"),
    ("VPC too small", "[network]\ncidr = →\"10.42.0.0/29\"\n", "smaller than AWS allows"),
    ("VPC without room", "[network]\ncidr = →\"10.42.0.0/28\"\n", "has no room for three subnets"),
    ("foreign VPC", "[network]\ncidr = →\"8.8.0.0/16\"\n", "`8.8.0.0/16` is not a private range"),
    ("just beyond 172.16/12", "[network]\ncidr = →\"172.32.0.0/16\"\n", "is not a private range"),
    ("carrier's range", "[network]\ncidr = →\"100.64.0.0/16\"\n", "is not a private range"),
    ("foreign subnet", "[network]\npublic = →\"52.0.0.0/24\"\n", "is not a private range"),
    ("public outside", "[network]\npublic = →\"10.43.0.0/24\"\n", "is outside of the VPC's `10.42.0.0/16`"),
    (
        "private outside",
        "[network]\nprivate = [\"10.42.1.0/24\", →\"192.168.0.0/24\"]\n",
        "the second private subnet `192.168.0.0/24` is outside",
    ),
    (
        "private overlap",
        "[network]\nprivate = [\"10.42.1.0/24\", →\"10.42.1.128/25\"]\n",
        "overlaps the first private subnet, `10.42.1.0/24`",
    ),
    (
        "public overlap",
        "[network]\npublic = \"10.42.0.0/20\"\nprivate = [→\"10.42.1.0/24\", \"10.42.32.0/24\"]\n",
        "overlaps the public subnet, `10.42.0.0/20`",
    ),
    ("subnet with host bits", "[network]\npublic = →\"10.42.0.7/24\"\n", "starts at `10.42.0.0/24`"),
    ("one private subnet", "[network]\nprivate = →[\"10.42.1.0/24\"]\n", "`private` has 1 entries"),
    (
        "three zones",
        "[network]\nzones = →[\"us-east-1a\", \"us-east-1b\", \"us-east-1c\"]\n",
        "has 3 entries",
    ),
    ("no zones", "[network]\nzones = →[]\n", "`zones` has 0 entries"),
    (
        "zone of another region",
        "[network]\nzones = [\"us-east-1a\", →\"us-west-2a\"]\n",
        "not in region `us-east-1`",
    ),
    (
        "zone without a letter",
        "[network]\nzones = [→\"us-east-1\", \"us-east-1b\"]\n",
        "zone `us-east-1` is not in",
    ),
    (
        "same zone",
        "[network]\nzones = [\"us-east-1a\", →\"us-east-1a\"]\n",
        "zone `us-east-1a` is named twice",
    ),
    // Database
    ("storage too small", "[database]\nstorage_gib = →19\n", "`19`, outside of 20 to 65536"),
    ("storage too large", "[database]\nstorage_gib = →65537\n", "outside of 20 to 65536"),
    ("negative storage", "[database]\nstorage_gib = →-20\n", "`-20`, outside of"),
    ("number beyond all", "[database]\nstorage_gib = →99999999999999999999999\n", "outside of"),
    ("port too low", "[database]\nport = →443\n", "outside of 1150 to 65535"),
    ("port too high", "[database]\nport = →65536\n", "outside of 1150 to 65535"),
    ("backups too long", "[database]\nbackup_days = →36\n", "outside of 0 to 35"),
    ("negative backups", "[database]\nbackup_days = →-1\n", "outside of 0 to 35"),
    ("class without db", "[database]\nclass = →\"t4g.small\"\n", "is not a database instance class"),
    ("class of another size", "[database]\nclass = →\"db.t4g.tiny\"\n", "is not a database instance class"),
    ("version in words", "[database]\nengine_version = →\"latest\"\n", "not a version"),
    ("version in three parts", "[database]\nengine_version = →\"16.4.1\"\n", "not a version"),
    ("old version", "[database]\nengine_version = →\"12.7\"\n", "older than 15"),
    ("identifier with two hyphens", "[database]\nidentifier = →\"a--b\"\n", "two in a row"),
    ("identifier with underscore", "[database]\nidentifier = →\"a_b\"\n", "has `_` in it"),
    ("identifier with hyphen at its end", "[database]\nidentifier = →\"a-\"\n", "a hyphen at its end"),
    ("master admin", "[database]\nmaster_user = →\"admin\"\n", "`admin` is reserved by RDS"),
    ("master rdsadmin", "[database]\nmaster_user = →\"rdsadmin\"\n", "`rdsadmin` is reserved by RDS"),
    ("master pg_", "[database]\nmaster_user = →\"pg_boss\"\n", "reserved by PostgreSQL"),
    ("master with underscore first", "[database]\nmaster_user = →\"_a\"\n", "does not start with a letter"),
    ("hostile master", "[database]\nmaster_user = →\"a\\\" SUPERUSER\"\n", "master user `a\" SUPERUSER`"),
    ("secret prefix with space", "[database]\nsecret_prefix = →\"a b\"\n", "has ` ` in it"),
    ("secret prefix with slash", "[database]\nsecret_prefix = →\"/rds\"\n", "slash at an end"),
    ("master secret with space", "[database]\nmaster_secret = →\"a b\"\n", "that Secrets Manager refuses"),
    ("empty master secret", "[database]\nmaster_secret = →\"\"\n", "1 to 512 characters"),
    ("subnet group in capitals", "[database]\nsubnet_group = →\"Shop\"\n", "name of a database subnet group"),
    ("default subnet group", "[database]\nsubnet_group = →\"default\"\n", "name of a database subnet group"),
    ("role with a path", "[bastion]\nrole = →\"/shop/bastion\"\n", "cannot be the name of a role"),
    ("hostile role", "[bastion]\nrole = →\"a\\u001b[2J\"\n", "`a\\u{1b}[2J` cannot be the name of a role"),
    ("empty profile", "[bastion]\nprofile = →\"\"\n", "cannot be the name of an instance profile"),
    ("empty secret prefix", "[database]\nsecret_prefix = →\"\"\n", "is empty"),
    // Bastion
    ("instance type in words", "[bastion]\ninstance_type = →\"small\"\n", "is not an instance type"),
    ("class as type", "[bastion]\ninstance_type = →\"db.t4g.small\"\n", "is not an instance type"),
    ("Graviton", "[bastion]\ninstance_type = →\"t4g.micro\"\n", "is arm64"),
    ("volume too small", "[bastion]\nvolume_gib = →7\n", "outside of 8 to 16384"),
    ("no session at all", "[bastion]\nsessions = →0\n", "outside of 1 to 16"),
    ("messages beyond smux", "[bastion]\nmessage_bytes = →32769\n", "outside of 256 to 32768"),
    ("message as words", "[bastion]\nmessage_bytes = →\"1 KiB\"\n", "must be a whole number"),
    ("duration in words", "[bastion]\nready_within = →\"soon\"\n", "is not a duration"),
    ("duration without unit", "[bastion]\nready_within = →\"300\"\n", "is not a duration"),
    ("duration of zero", "[bastion]\nready_within = →\"0s\"\n", "outside of `1s` to `1h`"),
    ("duration of days", "[bastion]\nready_within = →\"48h\"\n", "outside of `1s` to `1h`"),
    ("idle for a moment", "[bastion]\nidle = →\"1m\"\n", "outside of `5m` to `24h`"),
    ("idle for days", "[bastion]\nidle = →\"25h\"\n", "outside of `5m` to `24h`"),
    ("idle in words", "[bastion]\nidle = →\"Never\"\n", "is not a duration"),
    ("duration of letters", "[bastion]\nready_within = →\"5µ\"\n", "is not a duration"),
    ("negative duration", "[bastion]\nready_within = →\"-5m\"\n", "is not a duration"),
    ("endless duration", "[bastion]\nready_within = →\"99999999999999999999h\"\n", "outside of"),
    // Alarms
    ("no at", "[alarms]\nemail = →\"ops.example.com\"\n", "is not an e-mail address"),
    ("two ats", "[alarms]\nemail = →\"a@b@example.com\"\n", "is not an e-mail address"),
    (
        "e-mail with a line break",
        "[alarms]\nemail = →\"a@example.com\\nBcc: x\"\n",
        "is not an e-mail address",
    ),
    ("CPU of all", "[alarms]\ncpu_percent = →100\n", "outside of 1 to 99"),
    ("more free than there is", "[alarms]\nfree_storage_gib = →20\n", "`20`, outside of 1 to 19"),
    ("no connections", "[alarms]\nconnections = →0\n", "outside of 1 to 262143"),
    ("memory in words", "[alarms]\nfreeable_memory_mib = →\"1 GiB\"\n", "must be a whole number"),
    ("thresholds that tell nobody", "→[alarms]\ncpu_percent = 70\n", "`email` is missing in `[alarms]`"),
    (
        "alarms on a class of unknown memory",
        "[database]\nclass = \"db.x2g.large\"\n→[alarms]\nemail = \"a@example.com\"\n",
        "the memory of `db.x2g.large` is not known, so `connections` and `freeable_memory_mib` must be given",
    ),
    (
        "one threshold on a class of unknown memory",
        "[database]\nclass = \"db.x2g.large\"\n→[alarms]\nemail = \"a@example.com\"\nconnections = 9\n",
        "so `freeable_memory_mib` must be given",
    ),
    ("monitoring every 7 s", "[database]\nmonitoring_interval = →7\n", "none of 0, 1, 5, 10, 15, 30 and 60"),
    ("monitoring every 90 s", "[database]\nmonitoring_interval = →90\n", "outside of 0 to 60"),
    ("monitoring as a duration", "[database]\nmonitoring_interval = →\"60s\"\n", "must be a whole number"),
    ("a log of MySQL", "[database]\nlogs = [→\"slowquery\"]\n", "is not a log of PostgreSQL on RDS"),
    ("a log twice", "[database]\nlogs = [\"upgrade\", →\"upgrade\"]\n", "log `upgrade` is there twice"),
    ("logs as text", "[database]\nlogs = →\"upgrade\"\n", "must be a list of strings"),
    ("e-mail at one label", "[alarms]\nemail = →\"root@localhost\"\n", "is not an e-mail address"),
];

/// The whole file.
const FILES: &[(&str, &str, &str)] = &[
    ("empty", "→", "the file is empty"),
    ("blank", "→\n \n\t\n", "the file is empty"),
    ("comment alone", "→# nothing\n", "`project` is missing at the top of the file"),
    ("byte order mark", "→\u{feff}project = \"a\"\n", "byte order mark"),
    ("no environment", "→project = \"a\"\nregion = \"us-east-1\"\n", "`environment` is missing"),
    ("no region", "→project = \"a\"\nenvironment = \"b\"\n", "`region` is missing"),
    ("shell", "#!/bin/sh\nexport →PROJECT=a\n", "not TOML"),
    ("json", "→{\"project\": \"a\"}\n", "not TOML"),
    ("xml", "→<project>a</project>\n", "not TOML"),
    ("capital project", "project = →\"Webshop\"\n", "project name `Webshop` has `W` in it"),
    ("empty project", "project = →\"\"\n", "project name `` is empty"),
    ("project with underscore", "project = →\"web_shop\"\n", "has `_` in it"),
    ("project with digit first", "project = →\"1shop\"\n", "does not start with a letter"),
    ("project with two hyphens", "project = →\"web--shop\"\n", "two in a row"),
    ("long project", "project = →\"abcdefghijklmnopqrstuvwxyz-abcdefg\"\n", "longer than 32"),
    ("project with slash", "project = →\"web/shop\"\n", "has `/` in it"),
    ("project as number", "project = →1\n", "`project` must be a string"),
    ("long environment", "project = \"a\"\nenvironment = →\"abcdefghijklmnopq\"\n", "longer than 16"),
    ("hyphen at the end", "project = \"a\"\nenvironment = →\"prod-\"\n", "a hyphen at its end"),
    (
        "region in words",
        "project = \"a\"\nenvironment = \"b\"\nregion = →\"Virginia\"\n",
        "not an AWS region",
    ),
    (
        "zone as region",
        "project = \"a\"\nenvironment = \"b\"\nregion = →\"us-east-1a\"\n",
        "not an AWS region",
    ),
    ("one part", "project = \"a\"\nenvironment = \"b\"\nregion = →\"1\"\n", "not an AWS region"),
    (
        "region of ours",
        "project = \"a\"\nenvironment = \"b\"\nregion = →\"us-east-0\"\n",
        "not an AWS region",
    ),
    ("column after wide letters", "project = \"a\"\nregion = { \"ü\" = →x }\n", "not TOML"),
    ("windows line ends", "project = \"a\"\r\nenvironment = →\"B\"\r\n", "has `B` in it"),
];

fn cases() -> Vec<(String, String, String)> {
    let own = |(name, text, part): &(&str, &str, &str)| ((*name).into(), (*text).into(), (*part).into());
    let bodies = BODIES
        .iter()
        .map(|(name, body, part)| ((*name).to_owned(), format!("{HEAD}{body}"), (*part).to_owned()));
    let mut cases: Vec<_> = FILES.iter().map(own).chain(bodies).collect();
    let letters = |count: usize| "a".repeat(count);
    let mut long = |name: &str, text: String, part: &str| cases.push((name.into(), text, part.into()));
    long(
        "name of 64 bytes",
        format!("{HEAD}[[tenant]]\nname = →\"{}\"\n", letters(64)),
        "PostgreSQL's 63 bytes",
    );
    long(
        "name of 10,000 letters",
        format!("{HEAD}[[tenant]]\nname = →\"{}\"\n", letters(10_000)),
        "(10000 characters)",
    );
    long(
        "owner of 64 bytes",
        format!("{HEAD}[[tenant]]\nname = \"a\"\nowner = →\"{}\"\n", letters(64)),
        "63 bytes",
    );
    long("key of 10,000 letters", format!("{HEAD}→{} = 1\n", letters(10_000)), "(10000 characters)");
    long(
        "range of 10,000 letters",
        format!("{HEAD}[network]\ncidr = →\"{}\"\n", letters(10_000)),
        "(10000 characters)",
    );
    long(
        "long purpose",
        format!("{HEAD}[[tenant]]\nname = \"a\"\npurpose = →\"{}\"\n", letters(201)),
        "longer than 200",
    );
    long(
        "long identifier",
        format!("{HEAD}[database]\nidentifier = →\"{}\"\n", letters(64)),
        "longer than 63",
    );
    long(
        "long secret prefix",
        format!("{HEAD}[database]\nsecret_prefix = →\"{}\"\n", letters(449)),
        "longer than 448",
    );
    long(
        "set of 40 letters",
        format!("{HEAD}[[tenant]]\nname = \"a\"\nmigrations = →\"{}\"\n", letters(40)),
        "1 to 39 lowercase letters",
    );
    long(
        "label of 64 letters",
        format!("{HEAD}[[tenant]]\nname = \"a\"\nlabels = [→\"{}\"]\n", letters(64)),
        "longer than 63",
    );
    long("many digits", format!("{HEAD}[database]\nport = →{}\n", "9".repeat(10_000)), "(10000 characters)");
    long("deep lists", format!("{HEAD}x = {}→{}\n", "[".repeat(80), "[".repeat(9_920)), "not TOML");
    cases
}

fn refuse(text: &str) -> (ConfigError, String) {
    let at = text.find('→').expect("the case marks a place");
    let line = text[..at].matches('\n').count() + 1;
    let column = text[..at].chars().rev().take_while(|c| *c != '\n').count() + 1;
    let error = parse(&text.replacen('→', "", 1), "infra/stack.toml").expect_err("the file is malformed");
    (error, format!("{line}:{column}"))
}

#[test]
fn every_malformed_file_is_refused_with_its_place_and_a_remedy() {
    let cases = cases();
    let mut wrong = Vec::new();
    for (name, text, part) in &cases {
        let (error, place) = refuse(text);
        let message = error.to_string();
        let is_right = message.starts_with(&format!("infra/stack.toml:{place}: "))
            && message.contains(part)
            && !error.help.is_empty();
        if !is_right {
            wrong.push(format!("{name}: wanted {place} and `{part}`, got {message} ({})", error.help));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_cases_are_a_hundred_different_files_at_least() {
    let texts: std::collections::BTreeSet<String> = cases().into_iter().map(|(_, text, _)| text).collect();
    assert!(texts.len() >= 100, "{} different files", texts.len());
    assert_eq!(texts.len(), cases().len());
}

#[test]
fn no_message_is_long_or_moves_the_cursor() {
    for (name, text, _) in cases() {
        let (error, _) = refuse(&text);
        let words = format!("{error}{}", error.help);
        assert!(words.chars().count() < 400, "{name}: {words}");
        assert!(!words.contains(|c: char| c.is_control() || c == '\u{202e}'), "{name}: {words:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_at_their_place() {
    let error = parse_bytes(b"project = \"a\"\nenvironment = \"\xff\"\n", "stack.toml").unwrap_err();
    assert_eq!(error.to_string(), "stack.toml:2:16: byte 0xff is not UTF-8");
    let error = parse_bytes(b"\xff\xfep\0r\0", "stack.toml").unwrap_err();
    assert_eq!((error.line, error.column), (1, 1));
}

#[test]
fn a_misspelt_key_is_met_with_the_nearest_one() {
    let help = |body: &str| refuse(&format!("{HEAD}{body}")).0.help;
    assert_eq!(help("[database]\n→engin_version = \"16\"\n"), "did you mean `engine_version`?");
    assert_eq!(help("[[→tenans]]\nname = \"a\"\n"), "did you mean `tenant`?");
    assert!(help("→[[tenants]]\nname = \"a\"\n").contains("a tenant is a line `[[tenant]]`"));
    assert_eq!(help("[bastion]\n→port = 5432\n"), "`port` belongs under a line `[database]`");
    assert!(help("[alarms]\n→phone = 1\n").contains("`enabled`, `email`"));
}

#[test]
fn a_name_that_is_nearly_right_is_met_with_the_right_one() {
    let help = |name: &str| refuse(&format!("{HEAD}[[tenant]]\nname = →\"{name}\"\n")).0.help;
    assert_eq!(help("Web-Shop"), "write it as `web_shop`");
    assert_eq!(help("x; DROP"), "choose a name such as `webshop_prod`");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_accident_to_the_shipped_file_makes_a_panic_or_a_place_outside_of_it(
        at in any::<prop::sample::Index>(), cut in 0..40usize, put in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = include_bytes!("../../stack.toml").to_vec();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + cut);
        bytes.splice(at..end, put);
        if let Err(error) = parse_bytes(&bytes, "stack.toml") {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            prop_assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
            prop_assert!(!error.message.is_empty() && !error.help.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse_bytes(&bytes, "stack.toml").is_err());
    }

    #[test]
    fn a_name_is_taken_only_if_postgresql_takes_it_unquoted(name in "[a-z_A-Z0-9\"'; -]{0,70}") {
        let text = format!("{HEAD}[[tenant]]\nname = {}\n", toml_string(&name));
        if let Ok(stack) = parse(&text, "stack.toml") {
            prop_assert_eq!(&stack.tenants[0].name, &name);
            let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
            let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            prop_assert!(first && rest && name.len() <= 63);
        }
    }
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}
