//! What is known of database instance classes beside their prices.

/// Returns the memory of a class in GiB, if the table has it.
///
/// Source: Amazon RDS's user guide, "Hardware specifications for DB instance classes", 2026-11.
pub(crate) fn memory_gib(class: &str) -> Option<u32> {
    let (family, size) = class.strip_prefix("db.")?.split_once('.')?;
    let of_small = match size {
        "micro" => 1,
        "small" => 2,
        "medium" => 4,
        _ => 0,
    };
    let of_large = match size {
        "large" => 8,
        "xlarge" => 16,
        "2xlarge" => 32,
        "4xlarge" => 64,
        "8xlarge" => 128,
        "12xlarge" => 192,
        "16xlarge" => 256,
        "24xlarge" => 384,
        _ => 0,
    };
    let memory = match family {
        "t3" | "t4g" if of_large <= 32 => of_small + of_large,
        "m5" | "m6g" | "m6i" | "m7g" | "m7i" | "m8g" => of_large,
        "r5" | "r6g" | "r6i" | "r7g" | "r7i" | "r8g" => of_large * 2,
        _ => 0,
    };
    (memory > 0).then_some(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_class_is_that_of_the_user_guide() {
        let known = [
            ("db.t4g.micro", 1),
            ("db.t4g.small", 2),
            ("db.t3.2xlarge", 32),
            ("db.m7g.large", 8),
            ("db.m6i.24xlarge", 384),
            ("db.r7g.xlarge", 32),
            ("db.r5.12xlarge", 384),
        ];
        for (class, gib) in known {
            assert_eq!(memory_gib(class), Some(gib), "{class}");
        }
        for unknown in ["db.x2g.large", "db.m7g.micro", "db.t4g.4xlarge", "db.m7g.metal", "m7g.large", "db"] {
            assert_eq!(memory_gib(unknown), None, "{unknown}");
        }
    }
}
