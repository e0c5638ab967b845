//! A hash of names that never changes: the standard library's may differ from one version to the next.

/// Returns FNV-1a with the finish of murmur3.
pub(crate) fn of(bytes: impl Iterator<Item = u8>) -> u64 {
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // FNV's low bits alone follow the last letters too closely.
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_hash_of_a_name_never_changes() {
        assert_eq!(of("".bytes()), 0xefd0_1f60_ba99_2926);
        assert_ne!(of("webshop_prod".bytes()), of("webshop_prof".bytes()));
    }
}
