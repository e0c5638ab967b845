//! The price table: on demand, Linux, PostgreSQL, one zone, from AWS's price pages.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The month in which the table was checked.
pub const AS_OF: &str = "2026-11";
/// The region of the table.
pub const PRICED_REGION: &str = "us-east-1";

/// AWS's own month, 365 days by 12.
const HOURS_A_MONTH: u64 = 730;

/// A public IPv4 address in use.
pub(super) const PUBLIC_ADDRESS: HourlyPrice = HourlyPrice(5_000);
/// A GiB of an EBS gp3 volume.
pub(super) const VOLUME_GIB: MonthlyPrice = MonthlyPrice(80_000);
/// A GiB of RDS gp3 storage in one zone.
pub(super) const DATABASE_GIB: MonthlyPrice = MonthlyPrice(115_000);
/// A secret in Secrets Manager.
pub(super) const SECRET: MonthlyPrice = MonthlyPrice(400_000);
/// A CloudWatch alarm at standard resolution.
pub(super) const ALARM: MonthlyPrice = MonthlyPrice(100_000);
/// So many alarms of an account cost nothing.
pub(super) const FREE_ALARMS: u32 = 10;

/// A GB that CloudWatch Logs takes in.
pub(super) const LOG_GB: MonthlyPrice = MonthlyPrice(500_000);
/// A GB that CloudWatch Logs keeps.
pub(super) const LOG_GB_KEPT: MonthlyPrice = MonthlyPrice(30_000);

/// Returns the price of an instance type, if the table has it.
pub(super) fn instance(instance_type: &str) -> Option<HourlyPrice> {
    Some(HourlyPrice(match instance_type {
        "t3.nano" => 5_200,
        "t3.micro" => 10_400,
        "t3.small" => 20_800,
        "t3.medium" => 41_600,
        _ => return None,
    }))
}

/// Returns the price of a database instance class, if the table has it.
pub(super) fn database(class: &str) -> Option<HourlyPrice> {
    Some(HourlyPrice(match class {
        "db.t4g.micro" => 16_000,
        "db.t4g.small" => 32_000,
        "db.t4g.medium" => 65_000,
        _ => return None,
    }))
}

/// US dollars an hour, exact to a millionth. It reads as `$0.016`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourlyPrice(u64);

/// US dollars a month of 730 hours, exact to a millionth. It reads as `$11.88`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonthlyPrice(u64);

/// US dollars, exact to a millionth. It reads as `$0.42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u64);

impl HourlyPrice {
    /// Returns what so long a time costs.
    pub fn over(self, time: Duration) -> Amount {
        let millionths = u128::from(self.0) * u128::from(time.as_secs()) / 3600;
        Amount(u64::try_from(millionths).unwrap_or(u64::MAX))
    }

    /// Returns the price in US dollars.
    pub fn dollars(self) -> f64 {
        dollars(self.0)
    }

    /// Returns the price of a month of 730 hours.
    pub fn a_month(self) -> MonthlyPrice {
        MonthlyPrice(self.0.saturating_mul(HOURS_A_MONTH))
    }
}

impl MonthlyPrice {
    /// What costs nothing.
    pub const ZERO: MonthlyPrice = MonthlyPrice(0);

    /// Returns the price in US dollars.
    pub fn dollars(self) -> f64 {
        dollars(self.0)
    }

    /// Returns the price of so many.
    pub fn times(self, count: u32) -> MonthlyPrice {
        MonthlyPrice(self.0.saturating_mul(u64::from(count)))
    }

    /// Returns the price without what is already paid; never less than nothing.
    pub fn less(self, other: MonthlyPrice) -> MonthlyPrice {
        MonthlyPrice(self.0.saturating_sub(other.0))
    }

    /// Returns the price of one of the month's 730 hours.
    pub fn an_hour(self) -> HourlyPrice {
        HourlyPrice(self.0 / HOURS_A_MONTH)
    }
}

impl Add for HourlyPrice {
    type Output = HourlyPrice;

    fn add(self, other: HourlyPrice) -> HourlyPrice {
        HourlyPrice(self.0.saturating_add(other.0))
    }
}

impl Sum for MonthlyPrice {
    fn sum<I: Iterator<Item = MonthlyPrice>>(prices: I) -> MonthlyPrice {
        MonthlyPrice(prices.fold(0, |sum, price| sum.saturating_add(price.0)))
    }
}

impl fmt::Display for HourlyPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${:.3}", self.dollars())
    }
}

impl fmt::Display for MonthlyPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        cents(self.0, f)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        cents(self.0, f)
    }
}

fn cents(millionths: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let cents = millionths.saturating_add(5_000) / 10_000;
    write!(f, "${}.{:02}", cents / 100, cents % 100)
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(dollars(self.0))
    }
}

impl Serialize for HourlyPrice {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(self.dollars())
    }
}

impl Serialize for MonthlyPrice {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(self.dollars())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bill is far below 2^53 millionths of a dollar")]
fn dollars(millionths: u64) -> f64 {
    millionths as f64 / 1e6
}
