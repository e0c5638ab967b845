//! A range of IPv4 addresses.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;

/// An IPv4 range with no host bits set.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    base: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// Returns the range that `text` (`10.42.0.0/16`) names.
    ///
    /// # Errors
    /// Says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<Cidr, String> {
        let (base, prefix) = text
            .split_once('/')
            .ok_or_else(|| format!("`{text}` has no prefix length; write it as `10.42.0.0/16`"))?;
        let base: Ipv4Addr = base
            .parse()
            .map_err(|_| format!("`{base}` is not an IPv4 address; write it as `10.42.0.0/16`"))?;
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= 32)
            .ok_or_else(|| format!("`/{prefix}` is not a prefix length from 0 to 32"))?;
        let cidr = Cidr { base, prefix };
        let network = Ipv4Addr::from(u32::from(base) & cidr.mask());
        if network != base {
            return Err(format!("`{text}` has host bits set; the range starts at `{network}/{prefix}`"));
        }
        Ok(cidr)
    }

    /// Returns the prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Returns the first address.
    pub fn base(self) -> Ipv4Addr {
        self.base
    }

    /// Tells whether all of `other` lies in this range.
    pub fn contains(self, other: Cidr) -> bool {
        other.prefix >= self.prefix && u32::from(other.base) & self.mask() == u32::from(self.base)
    }

    /// Tells whether the two ranges share an address.
    pub fn overlaps(self, other: Cidr) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// Returns the `index`th range of length `prefix` inside this one.
    pub fn subnet(self, prefix: u8, index: u32) -> Option<Cidr> {
        if prefix < self.prefix || prefix > 32 || u64::from(index) >= 1 << (prefix - self.prefix) {
            return None;
        }
        let offset = u32::try_from(u64::from(index) << (32 - prefix)).ok()?;
        Some(Cidr { base: Ipv4Addr::from(u32::from(self.base) + offset), prefix })
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
