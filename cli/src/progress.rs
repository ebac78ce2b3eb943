//! What a command does at this moment: on standard error, and only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that says what is looked at, with a bar where it is known how much there is.
pub struct Progress(ProgressBar);

impl Progress {
    /// A new one, which says nothing yet. Where standard error is no terminal it never says anything.
    pub fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// One that nobody sees.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Says what is looked at.
    pub fn say(&self, what: impl Into<String>) {
        self.0.set_message(what.into());
    }

    /// Says that so many regions are looked at.
    pub fn begin_regions(&self, count: usize) {
        self.0.set_length(count as u64);
        self.0.set_position(0);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:20} {pos}/{len} regions  {msg}") {
            self.0.set_style(style);
        }
    }

    /// One more region is done.
    pub fn region_done(&self) {
        self.0.inc(1);
    }

    /// Says what is waited for, with a bar where it is known how far it is.
    pub fn share(&self, what: impl Into<String>, percent: Option<u64>) {
        let template = if percent.is_some() { "{spinner} {bar:20} {pos} %  {msg}" } else { "{spinner} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.set_length(100);
        self.0.set_position(percent.unwrap_or(0));
        self.0.set_message(what.into());
    }

    /// Writes something above it.
    pub fn above(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }

    /// Takes the line away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
