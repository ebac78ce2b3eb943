//! `run`: starts an execution, and follows it where that is asked for. Whoever stops watching does not stop the run.

mod started;
mod watch;

pub use started::{Started, input, start};
pub use watch::watch;
