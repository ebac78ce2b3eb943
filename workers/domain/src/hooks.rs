//! Hooks: scripts that run in an instance before and after its snapshots are begun, so that a database is in them as it
//! would be after an orderly stop.
//!
//! An instance asks for them by three tags:
//!
//! ```
//! use domain::{hooks::{self, HookDocuments, OnHookError}, tags::tags};
//! let documents = HookDocuments::read("", Some("ebs-snapshots")).unwrap();
//! let (plan, problems) = hooks::read(&tags([("BackupHook", "MariaDB"), ("BackupHookTimeout", "30")]), &documents);
//! let plan = plan.unwrap();
//! assert_eq!((plan.document.as_str(), plan.timeout_seconds), ("ebs-snapshots-mariadb", 30));
//! assert!(plan.on_error == OnHookError::Snapshot && problems.is_empty());
//!
//! // What cannot be used is reported by itself. A document that is not allowed is refused when it is to be run.
//! let (plan, problems) = hooks::read(&tags([("BackupHook", "mine"), ("BackupHookTimeout", "1m")]), &documents);
//! assert_eq!((plan.unwrap().timeout_seconds, problems.len()), (60, 2));
//! ```
//!
//! A hook is an SSM document that keeps the contract of Data Lifecycle Manager (EBS user guide, "Automate
//! application-consistent snapshots"): it takes `command`, which is `pre-script` or `post-script`, and `executionId`, a
//! UUID that is the same for both. What its scripts say is read in [`script`]; a command is sent once, by a claim
//! ([`claim`]), since `SendCommand` has no client token.

pub mod claim;
pub mod documents;
pub mod script;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    fleet::Tags,
    tags::{BACKUP_HOOK, BACKUP_HOOK_ON_ERROR, BACKUP_HOOK_TIMEOUT, TagProblem, problem},
};

pub use documents::{HookDocument, HookDocuments};

/// `BackupHookTimeout`, in seconds, where an instance says nothing usable.
pub const DEFAULT_TIMEOUT_SECONDS: u32 = 60;
/// What it may be: Data Lifecycle Manager's range.
pub const TIMEOUT_SECONDS: std::ops::RangeInclusive<u32> = 10..=120;

/// For so long SSM tries to deliver a command, in seconds: the least that `SendCommand` takes (its documentation).
pub const DELIVERY_SECONDS: u32 = 30;

/// What becomes of an instance whose hook failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnHookError {
    /// It is snapshotted as it is: crash-consistent.
    Snapshot,
    /// It is not, and its volumes are owed.
    Skip,
}

/// The hook of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookPlan {
    /// The document, as SSM is asked for it: a name, or an ARN.
    pub document: String,
    /// For so long each of its scripts may run.
    pub timeout_seconds: u32,
    /// What follows where it fails.
    pub on_error: OnHookError,
}

/// Which script of a hook is run, as its document takes it in `command`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Script {
    /// Before the snapshots are begun.
    #[serde(rename = "pre-script")]
    Pre,
    /// As soon as they are.
    #[serde(rename = "post-script")]
    Post,
}

impl Script {
    /// As the documents take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre-script",
            Self::Post => "post-script",
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The hook that an instance's tags ask for, and what in them cannot be used.
pub fn read(tags: &Tags, documents: &HookDocuments) -> (Option<HookPlan>, Vec<TagProblem>) {
    let mut problems = Vec::new();
    let timeout_seconds = tags.get(BACKUP_HOOK_TIMEOUT).and_then(|value| {
        let seconds = value.trim().parse().ok().filter(|seconds| TIMEOUT_SECONDS.contains(seconds));
        if seconds.is_none() {
            let (least, most) = (TIMEOUT_SECONDS.start(), TIMEOUT_SECONDS.end());
            problems.push(problem(BACKUP_HOOK_TIMEOUT, value, &format!("whole seconds from {least} to {most}")));
        }
        seconds
    });
    let on_error = tags.get(BACKUP_HOOK_ON_ERROR).and_then(|value| match value.trim().to_ascii_lowercase().as_str() {
        "snapshot" => Some(OnHookError::Snapshot),
        "skip" => Some(OnHookError::Skip),
        _ => {
            problems.push(problem(BACKUP_HOOK_ON_ERROR, value, "snapshot or skip"));
            None
        }
    });
    let Some(asked) = tags.get(BACKUP_HOOK) else {
        for key in [BACKUP_HOOK_TIMEOUT, BACKUP_HOOK_ON_ERROR] {
            problems.extend(tags.get(key).map(|value| problem(key, value, "it only beside BackupHook")));
        }
        return (None, problems);
    };
    let document = documents.find(asked).map(|document| document.name);
    if document.is_none() {
        problems.push(problem(BACKUP_HOOK, asked, &documents.allowed()));
    }
    let plan = HookPlan {
        document: document.unwrap_or_else(|| asked.clone()),
        timeout_seconds: timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS),
        on_error: on_error.unwrap_or(OnHookError::Snapshot),
    };
    (Some(plan), problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tags::tags;

    fn asked(own: &[(&str, &str)]) -> (Option<HookPlan>, Vec<String>) {
        let listed = "arn:aws:ssm:eu-west-1:111122223333:document/Freeze";
        let documents = HookDocuments::read(listed, Some("nightly")).unwrap();
        let (plan, problems) = read(&tags(own.iter().copied()), &documents);
        (plan, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_instance_without_the_tag_has_no_hook() {
        assert_eq!(asked(&[("Backup", "Yes")]), (None, vec![]));
        let (plan, problems) = asked(&[("BackupHookOnError", "skip")]);
        assert!(plan.is_none());
        assert_eq!(problems, ["BackupHookOnError=\"skip\": allowed is it only beside BackupHook"]);
    }

    #[test]
    fn what_cannot_be_used_is_reported_and_the_defaults_hold() {
        let (plan, problems) =
            asked(&[("BackupHook", "freeze2"), ("BackupHookTimeout", "121"), ("BackupHookOnError", "fail")]);
        let plan = plan.unwrap();
        assert_eq!((plan.document.as_str(), plan.timeout_seconds), ("freeze2", 60), "its own word stays in the report");
        assert_eq!(plan.on_error, OnHookError::Snapshot, "a typo takes no backup away");
        assert!(problems[0].contains("whole seconds from 10 to 120"), "{problems:?}");
        assert!(problems[1].contains("snapshot or skip"), "{problems:?}");
        assert!(problems[2].contains("mariadb, mysql, postgresql, filesystem, Freeze"), "{problems:?}");
        let (plan, _) = asked(&[("BackupHook", ""), ("BackupHookTimeout", " 10 "), ("BackupHookOnError", "SKIP")]);
        let plan = plan.unwrap();
        assert_eq!((plan.timeout_seconds, plan.on_error), (10, OnHookError::Skip));
    }
}
