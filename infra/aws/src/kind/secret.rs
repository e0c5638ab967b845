//! Secrets in Secrets Manager: one for the master user, and one for each tenant's role.

mod batch;
mod deletion;
mod describe;
mod find;
mod list;
mod owner;
mod role;
pub mod rotate;
mod version;
pub(crate) mod write;

pub use self::batch::{ensure_all, find_all};
pub(crate) use self::deletion::{Deletion, destroy, kept};
pub(crate) use self::describe::{by_arn, describe};
pub use self::find::{find, find_credentials, get};
pub(crate) use self::list::{list, masters};
pub use self::owner::check_all;
pub(crate) use self::owner::own;
pub use self::role::{RoleSecret, destroy_role_secret, ensure_role_secret};
pub use self::version::{Credentials, Version};
pub(crate) use self::write::restore;
