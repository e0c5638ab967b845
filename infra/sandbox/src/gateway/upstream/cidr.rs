//! Ranges of addresses.

use std::net::Ipv4Addr;

/// Tells whether one range of addresses lies within another.
pub(crate) fn holds(wide: &str, narrow: &str) -> bool {
    let (Some((wide, wide_bits)), Some((narrow, narrow_bits))) = (parse_cidr(wide), parse_cidr(narrow))
    else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32 - wide_bits).unwrap_or(0);
    wide_bits <= narrow_bits && (wide & mask) == (narrow & mask)
}

fn parse_cidr(cidr: &str) -> Option<(u32, u32)> {
    let (address, bits) = cidr.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some((address.to_bits(), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_the_ranges_inside_it() {
        assert!(holds("0.0.0.0/0", "10.0.0.0/8"));
        assert!(holds("10.0.0.0/16", "10.0.7.0/24"));
        assert!(!holds("10.0.0.0/24", "10.0.0.0/16"));
        assert!(!holds("10.1.0.0/16", "10.0.7.0/24"));
        assert!(!holds("nonsense", "10.0.7.0/24"));
    }
}
