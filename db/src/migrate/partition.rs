//! A share of the tenants, for jobs that run as several at once.

use crate::{Error, hash};

/// A share of the tenants, for a job that runs as several at once: the third of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Which one, counted from 0.
    index: u32,
    of: u32,
}

/// Variables of systems that run a job several times: the number of this one, counted from 0, and of all.
const VARIABLES: [(&str, &str); 2] = [
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    // Kubernetes sets the first alone; the second is the job's `completions`.
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
];

impl Partition {
    /// Returns the share that `3/8` means: the third of eight.
    ///
    /// # Errors
    /// [`Error::Partition`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Partition, Error> {
        let shown: String = text.escape_debug().take(40).collect();
        let refuse = |reason: &'static str| Error::Partition { value: shown.clone(), reason };
        let (number, of) = text.split_once('/').ok_or_else(|| refuse("write it as `3/8`"))?;
        let parse =
            |digits: &str| digits.parse::<u32>().map_err(|_| refuse("write it as `3/8`, the third of eight"));
        let (number, of) = (parse(number)?, parse(of)?);
        if number == 0 || number > of {
            return Err(refuse("partitions count from 1 to the number of them"));
        }
        Ok(Partition { index: number - 1, of })
    }

    /// Returns the share that an array job of AWS Batch or an indexed job of Kubernetes gives this process.
    ///
    /// # Errors
    /// [`Error::Partition`] if the variables contradict each other, or only the first is there: to take all tenants
    /// then would have each process do all the work.
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Partition>, Error> {
        for (index, size) in VARIABLES {
            let Some(index_value) = variable(index) else { continue };
            let value = format!("{index}={}", index_value.escape_debug());
            let refuse = |reason: &'static str| Error::Partition { value: value.clone(), reason };
            let of = variable(size).ok_or_else(|| {
                refuse("the variable with the number of all is missing; give `--partition`")
            })?;
            let (Ok(index), Ok(of)) = (index_value.parse::<u32>(), of.parse::<u32>()) else {
                return Err(refuse("both variables must be whole numbers"));
            };
            if index >= of {
                return Err(refuse("it is not below the number of all"));
            }
            return Ok(Some(Partition { index, of }));
        }
        Ok(None)
    }

    /// Returns whether the tenant is in this share. It stays in it whoever else comes or goes.
    pub fn has(self, tenant: &str) -> bool {
        hash::of(tenant.bytes()) % u64::from(self.of) == u64::from(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_is_in_one_partition_and_they_are_about_even() {
        let mut sizes = [0_u32; 8];
        for n in 0..3000 {
            let tenant = format!("tenant_{n:04}");
            let shares: Vec<usize> =
                (0..8).filter(|n| Partition::parse(&format!("{}/8", n + 1)).unwrap().has(&tenant)).collect();
            assert_eq!(shares.len(), 1, "{tenant}");
            sizes[shares[0]] += 1;
        }
        assert!(sizes.iter().all(|size| (300..=450).contains(size)), "{sizes:?}");
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", "3", "0/8", "9/8", "1/0", "a/b", "-1/8", "1/8/2", " 1/8"] {
            assert!(Partition::parse(text).is_err(), "{text}");
        }
        assert_eq!(Partition::parse("1/1").unwrap(), Partition { index: 0, of: 1 });
    }

    #[test]
    fn array_jobs_say_which_share_is_theirs() {
        let of = |pairs: &'static [(&str, &str)]| {
            Partition::find(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(of(&[]).unwrap(), None);
        let third = Some(Partition { index: 2, of: 8 });
        assert_eq!(
            of(&[("AWS_BATCH_JOB_ARRAY_INDEX", "2"), ("AWS_BATCH_JOB_ARRAY_SIZE", "8")]).unwrap(),
            third
        );
        assert_eq!(of(&[("JOB_COMPLETION_INDEX", "2"), ("JOB_COMPLETIONS", "8")]).unwrap(), third);
        for alone in
            [&[("JOB_COMPLETION_INDEX", "2")][..], &[("JOB_COMPLETION_INDEX", "x"), ("JOB_COMPLETIONS", "8")]]
        {
            let pairs: &'static [(&str, &str)] = Box::leak(alone.to_vec().into_boxed_slice());
            assert!(of(pairs).is_err(), "{alone:?}");
        }
        assert!(of(&[("JOB_COMPLETION_INDEX", "8"), ("JOB_COMPLETIONS", "8")]).is_err());
    }
}
