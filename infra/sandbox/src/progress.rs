//! Where lines about slow work go.

use std::sync::Arc;

/// Where lines about slow work go.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;
