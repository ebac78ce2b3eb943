//! Which runs send a message, and what it says.
//!
//! A run that is not complete sends one, and one is sent when it is well again. What is retried within a run sends none:
//! the report comes after all retries.
#![warn(missing_docs)]

use std::{fmt, str::FromStr};

use super::{
    changes::Since,
    latest::Before,
    problem::{ProblemKind, lines},
    summary::Summary,
    text::{console_link, one_line},
};
use crate::{
    error::{ErrorName, cut},
    words::{counted, moment, plain},
};

/// The parameter `NotifyOn`: which runs send a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyOn {
    /// Those that are not complete, and the first complete one after such a run.
    #[default]
    Failure,
    /// All, dry runs among them.
    Always,
    /// None.
    Never,
}

impl NotifyOn {
    /// All words.
    pub const ALL: [(&str, Self); 3] = [("failure", Self::Failure), ("always", Self::Always), ("never", Self::Never)];
}

/// A word that is none of [`NotifyOn`]'s.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("NOTIFY_ON={0:?}: allowed is failure, always or never")]
pub struct NotifyOnProblem(String);

impl FromStr for NotifyOn {
    type Err = NotifyOnProblem;

    fn from_str(word: &str) -> Result<Self, NotifyOnProblem> {
        let found = Self::ALL.into_iter().find(|(known, _)| *known == word);
        found.map(|(_, on)| on).ok_or_else(|| NotifyOnProblem(word.to_owned()))
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The run failed, or owes something.
    NotComplete,
    /// The run is complete, and the last one was not.
    WellAgain,
    /// The run is complete, or was a dry run.
    Ended,
}

impl NotifyOn {
    /// Whether a run sends a message, and what about.
    ///
    /// A report that is made once more, since its first attempt did not come to its end, repeats the message of a run that
    /// is not complete, which must not be lost, and no other one.
    pub fn notice(self, summary: &Summary, before: &Before) -> Option<Notice> {
        let was_not = matches!(before.since, Since::Report { complete: false, .. });
        match self {
            Self::Never => None,
            _ if !summary.is_complete() => Some(Notice::NotComplete),
            _ if before.again => None,
            _ if was_not && summary.is_full_backup() => Some(Notice::WellAgain),
            Self::Always => Some(Notice::Ended),
            Self::Failure => None,
        }
    }
}

/// Characters in a subject, at most (`Publish` documentation: less than 100, and ASCII).
const MAX_SUBJECT: usize = 99;
/// Problems that a message names.
const MAX_CAUSES: usize = 5;
/// Characters of each of them, at most.
const MAX_CAUSE: usize = 500;

impl Summary {
    /// The subject of a message.
    pub fn subject(&self, notice: Notice) -> String {
        let subject = match notice {
            Notice::NotComplete => {
                let dry = if self.run.dry_run { "dry run " } else { "" };
                let many = counted(self.problems.len(), "problem", "problems");
                format!("EBS backup {} in {}: {dry}INCOMPLETE, {many}", self.run.id, self.home)
            }
            Notice::WellAgain => format!("EBS backup {} in {}: complete again", self.run.id, self.home),
            Notice::Ended => self.headline(),
        };
        // SNS refuses a message for a subject that is too long, or has other letters.
        subject.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(MAX_SUBJECT).collect()
    }

    /// The text of a message; `before` is the last report.
    pub fn message(&self, notice: Notice, before: &Before) -> String {
        let mut all = vec![self.first_sentence(notice, before)];
        if notice == Notice::NotComplete {
            let found = lines(&self.problems, self.run.deadline);
            all.push(String::new());
            let numbered = found.iter().zip(1..).take(MAX_CAUSES);
            all.extend(numbered.map(|(line, number)| format!("{number}. {}", cut(line, MAX_CAUSE))));
            match found.len().saturating_sub(MAX_CAUSES) {
                0 => {}
                more => all.push(format!("And {more} more in the report.")),
            }
            all.extend([String::new(), "Run next:".into(), format!("  {}", self.next_command())]);
        }
        all.push(String::new());
        all.extend(self.counts());
        let account = self.run.execution.split(':').nth(4).unwrap_or("not known");
        all.extend([
            String::new(),
            format!("Account {account}, started {}, reported {}", moment(self.run.started), moment(self.ended)),
            format!("Execution: {}", console_link(&self.run.execution).unwrap_or_else(|| self.run.execution.clone())),
            format!("Report: {}", self.file("report.html")),
            format!("  aws s3 cp {} .", self.file("report.html")),
            format!("As text: {}", self.file("summary.txt")),
        ]);
        let mut text = String::new();
        for line in all {
            text.push_str(&plain(&one_line(&line)));
            text.push('\n');
        }
        text
    }

    fn first_sentence(&self, notice: Notice, before: &Before) -> String {
        let (id, home) = (&self.run.id, &self.home);
        let dry = if self.run.dry_run { "dry " } else { "" };
        match (notice, &before.since) {
            (Notice::NotComplete, _) => {
                let many = counted(self.problems.len(), "problem", "problems");
                format!("The backup {dry}run {id} in {home} is not complete: {many}.")
            }
            (Notice::WellAgain, Since::Report { run, .. }) => {
                format!("The backup run {id} in {home} is complete again. The last one, {run}, was not.")
            }
            _ if self.run.dry_run => format!("The backup dry run {id} in {home} has ended: {}", self.would()),
            _ => format!("The backup run {id} in {home} is complete."),
        }
    }

    /// What a person runs next, of the command line.
    pub fn next_command(&self) -> String {
        format!("ebs-snapshots{} {}", self.stack(), self.next_step())
    }

    /// The same without the options that say which stack is meant.
    pub fn next_step(&self) -> String {
        let has = |kinds: &[ProblemKind]| self.problems.iter().any(|problem| kinds.contains(&problem.kind));
        let stopped = self.problems.iter().any(|p| p.error.as_deref() == Some(ErrorName::MassExpire.as_str()));
        let letters = self.dead_letters.iter().any(|queue| !queue.left.is_empty());
        let id = &self.run.id;
        use ProblemKind::{Copies, NoCopy, NoKeepForever, NoSnapshot, StillFrozen, WholeRun};
        match () {
            () if letters || has(&[StillFrozen]) => "dlq list".into(),
            () if self.run.dry_run => "plan".into(),
            () if has(&[WholeRun]) => format!("run --scheduled-time {id} --watch"),
            () if has(&[NoSnapshot]) => format!("run --scheduled-time {id} --phase snapshot --phase copy --watch"),
            () if stopped => "plan".into(),
            () if has(&[NoCopy, NoKeepForever, Copies]) => "run --phase copy --watch".into(),
            () => "status".into(),
        }
    }

    /// The options that say which stack is meant.
    fn stack(&self) -> impl fmt::Display {
        let machine = self.run.execution.split(':').nth(6).and_then(|machine| machine.strip_suffix("-backup"));
        let stack = machine.map_or_else(String::new, |stack| format!(" --stack-name {stack}"));
        format!(" --region {}{stack}", self.home)
    }
}
