//! The command line of Drawbridge, on one page.
