//! `dlq`: what failed for good, why, and what to do about it.

mod drop;
mod held;
mod letter;
mod list;
mod retry;

pub use drop::{Dropped, drop_letters};
pub use letter::Shown;
pub use list::{List, One, list, show};
pub use retry::{Became, Retried, retry};

#[cfg(test)]
mod tests;
