use std::net::Ipv4Addr;

use super::error::{ConfigError, Problem, Source, shown};
use super::form;
use super::table::{At, Keys, Table};
use crate::spec::{Cidr, Network, Subnet};

pub(super) const KEYS: Keys = &[
    ("cidr", "\"10.42.0.0/16\""),
    ("public", "\"10.42.0.0/24\""),
    ("private", "[\"10.42.1.0/24\", \"10.42.2.0/24\"]"),
    ("zones", "[\"us-east-1a\", \"us-east-1b\"]"),
];

/// Ranges that are spoken for, each with the words for it.
type Taken = Vec<(&'static str, Cidr)>;

/// Returns the network: what is written is checked first, the rest is computed around it.
pub(super) fn resolve(source: Source<'_>, table: &Table<'_>, region: &str) -> Result<Network, ConfigError> {
    let text = table.text("cidr")?.unwrap_or(At { value: "10.42.0.0/16", at: 0 });
    let vpc = range(text.value).map_err(|problem| source.fail(text.at, problem))?;

    let mut taken = Taken::new();
    let mut place = |subnet: At<&str>, what| {
        let cidr =
            inside(vpc, &taken, what, subnet.value).map_err(|problem| source.fail(subnet.at, problem))?;
        taken.push((what, cidr));
        Ok(cidr)
    };
    let public = table.text("public")?.map(|subnet| place(subnet, "the public subnet")).transpose()?;
    let private = match table.pair("private")? {
        Some([a, b]) => Some([place(a, "the first private subnet")?, place(b, "the second private subnet")?]),
        None => None,
    };

    let mut compute = || {
        let free = free(vpc, &taken).ok_or_else(|| {
            let message = format!("`{vpc}` has no room for three subnets beside those that are named");
            source.fail(text.at, Problem::new(message, "name `public` and `private` as well, or take a /16"))
        })?;
        taken.push(("a computed subnet", free));
        Ok(free)
    };
    let public = public.map_or_else(&mut compute, Ok)?;
    let [a, b] = match private {
        Some(private) => private,
        None => [compute()?, compute()?],
    };

    let [first, second] = zones(source, table, region)?;
    Ok(Network {
        cidr: vpc,
        public: Subnet { cidr: public, zone: first.clone() },
        private: [Subnet { cidr: a, zone: first }, Subnet { cidr: b, zone: second }],
    })
}

fn zones(source: Source<'_>, table: &Table<'_>, region: &str) -> Result<[String; 2], ConfigError> {
    let Some(zones) = table.pair("zones")? else {
        return Ok([format!("{region}a"), format!("{region}b")]);
    };
    for zone in zones {
        form::zone(zone.value, region).map_err(|problem| source.fail(zone.at, problem))?;
    }
    let [first, second] = zones;
    if first.value == second.value {
        let message = format!("zone `{}` is named twice; RDS asks for subnets in two zones", second.value);
        return Err(
            source.fail(second.at, Problem::new(message, format!("write `{}`", neighbour(second.value))))
        );
    }
    Ok(zones.map(|zone| zone.value.to_owned()))
}

fn neighbour(zone: &str) -> String {
    let other = if zone.ends_with('a') { 'b' } else { 'a' };
    let mut zone = zone.to_owned();
    zone.pop();
    zone.push(other);
    zone
}

fn inside(vpc: Cidr, taken: &Taken, what: &str, text: &str) -> Result<Cidr, Problem> {
    let subnet = range(text)?;
    let next = || match free(vpc, taken) {
        Some(free) => format!("`{free}` is free"),
        None => "widen `cidr`".to_owned(),
    };
    if !vpc.contains(subnet) {
        return Err(Problem::new(format!("{what} `{subnet}` is outside of the VPC's `{vpc}`"), next()));
    }
    match taken.iter().find(|(_, other)| other.overlaps(subnet)) {
        Some((other, cidr)) => {
            Err(Problem::new(format!("{what} `{subnet}` overlaps {other}, `{cidr}`"), next()))
        }
        None => Ok(subnet),
    }
}

/// Returns the first range of a usual size that nobody has taken.
fn free(vpc: Cidr, taken: &Taken) -> Option<Cidr> {
    let prefix = 24.max(vpc.prefix() + 2).min(28);
    (0..=u32::from(u8::MAX))
        .map_while(|index| vpc.subnet(prefix, index))
        .find(|subnet| !taken.iter().any(|(_, other)| other.overlaps(*subnet)))
}

/// Returns the range that `text` names, if AWS takes it and it is nobody else's.
fn range(text: &str) -> Result<Cidr, Problem> {
    if text.len() > 18 || !text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/')) {
        let message = format!("{} is not an IPv4 range", shown(text));
        return Err(Problem::new(message, "write it as `10.42.0.0/16`"));
    }
    let cidr = Cidr::parse(text).map_err(|message| Problem::new(message, "write it as `10.42.0.0/16`"))?;
    if !(16..=28).contains(&cidr.prefix()) {
        let message =
            format!("`{cidr}` is {} than AWS allows", if cidr.prefix() < 16 { "larger" } else { "smaller" });
        return Err(Problem::new(message, "take a prefix length from /16 to /28"));
    }
    // RFC 1918. Any other range belongs to someone, whom the VPC could then not reach.
    let private = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];
    let is_private = private.into_iter().any(|(base, prefix)| {
        let mask = u32::MAX << (32 - prefix);
        u32::from(cidr.base()) & mask == u32::from(Ipv4Addr::from(base))
    });
    if !is_private {
        return Err(Problem::new(
            format!("`{cidr}` is not a private range"),
            "take one inside of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
        ));
    }
    Ok(cidr)
}
