//! The error names that operators see, and the meaning of each EC2 error code.
//!
//! The names appear in the console, in the dead-letter queues and in the state machine's definition.
//! `tests/definition.rs` fails if the definition uses another name.
#![warn(missing_docs)]

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! error_names {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a step failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ErrorName {
            $($(#[$doc])* $name,)*
        }

        impl ErrorName {
            /// Every error name.
            pub const ALL: &[ErrorName] = &[$(Self::$name,)*];

            /// The name that operators see.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

error_names! {
    /// The execution's input has an unknown field, phase or type.
    InvalidInput,
    /// A parameter of the stack cannot be used.
    InvalidSettings,
    /// Another execution of the same run, with another input, has not ended yet.
    RunInProgress,
    /// The run's deadline is over: the next run makes the rest.
    OutOfTime,
    /// A message is not a task: no JSON, a field missing, an unknown version.
    BadMessage,
    /// A message was put back by hand more than 24 hours ago, or asks for a copy whose time is over.
    MessageExpired,
    /// The instance does not exist any more, or is in a state in which it cannot be snapshotted.
    InstanceNotFound,
    /// A volume does not exist any more, or is not attached any more.
    VolumeNotFound,
    /// The snapshot does not exist.
    SnapshotNotFound,
    /// A snapshot turned to `error`.
    SnapshotFailed,
    /// A copy turned to `error`.
    CopyFailed,
    /// The key of a copy cannot be used.
    KeyNotAccessible,
    /// The destination region does not exist or is not enabled.
    RegionNotEnabled,
    /// EC2 cannot copy this snapshot to that region.
    CopyNotSupported,
    /// A permission is missing.
    AccessDenied,
    /// A tag was refused.
    TagsRefused,
    /// The account holds as many snapshots as it may.
    SnapshotLimitExceeded,
    /// Transient faults lasted longer than a message is retried.
    Ec2Unavailable,
    /// EC2 refused with a code that this system does not know.
    Ec2Refused,
    /// An image, a lock or AWS Backup holds a snapshot that is due.
    SnapshotHeld,
    /// Too many of a region's backups would be deleted at once.
    MassExpire,
    /// A manifest or report could not be written or read.
    StorageFailed,
    /// The document of a hook is not one that may be run.
    HookNotAllowed,
    /// The instance of a hook is not managed by Systems Manager: it has no agent, or may not be reached.
    HookNotManaged,
    /// The agent of the instance did not take the command in time.
    HookAgentGone,
    /// A script of a hook did not end in time.
    HookTimedOut,
    /// What is to be frozen is not there, or cannot be frozen.
    HookNotReady,
    /// What is to be frozen lies on the root file system, which cannot be frozen safely.
    DataOnRootVolume,
    /// A pre-script failed.
    PreHookFailed,
    /// A post-script failed, or nothing is known of it: the instance may still be frozen.
    PostHookFailed,
    /// An instance had thawed by itself before its post-script came.
    HookThawedEarly,
    /// A script found another freeze open, or none.
    HookOutOfOrder,
    /// The report of a script is not understood.
    HookNotUnderstood,
    /// A frozen instance could not be snapshotted at once: it is thawed, and begun anew.
    SnapshotNotNow,
    /// Systems Manager refused a command for a reason that this system does not know.
    SsmRefused,
    /// Systems Manager did not answer.
    SsmUnavailable,
    /// A block of a snapshot, or a file in it, is not what it has to be.
    SnapshotCorrupt,
    /// The block list or a block of a snapshot could not be read for longer than a message is retried.
    SnapshotUnreadable,
    /// A worker crashed at the last delivery of its message.
    WorkerCrashed,
    /// The run ended, and something is owed.
    BackupIncomplete,
    /// A drill ended, and a backup is not proven.
    DrillFailed,
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{name}: {cause}")]
pub struct Failure {
    /// The kind of failure.
    pub name: ErrorName,
    /// What happened to what, and what is allowed; at most 1,000 characters.
    pub cause: String,
}

/// Characters in a cause, at most.
///
/// A cause becomes part of the state machine's state. A state larger than 256 KiB ends the execution without a report
/// (Step Functions quotas).
const MAX_CAUSE: usize = 1_000;

impl Failure {
    /// A failure. A cause longer than 1,000 characters is cut.
    pub fn new(name: ErrorName, cause: impl fmt::Display) -> Self {
        Self { name, cause: cut(&cause.to_string(), MAX_CAUSE) }
    }
}

/// Cuts a text to `most` characters; a text that was cut ends in `…`.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

/// The codes of a call that EC2 refused because there were too many.
pub const THROTTLES: &[&str] = &["RequestLimitExceeded", "Throttling", "ThrottlingException", "EC2ThrottledException"];

/// The code of a call without an answer: EC2 may have carried it out.
pub const LOST_ANSWER: &str = "LostAnswer";
/// The code of a call that did not reach EC2.
pub const NOT_SENT: &str = "NotSent";

/// A failed call of EC2.
///
/// The SDK has no types for EC2's errors: the code decides, see [`Ec2Error::reaction`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} in {region}: {code}: {message}")]
#[allow(missing_docs)]
pub struct Ec2Error {
    /// The call, such as `CopySnapshot`.
    pub action: &'static str,
    pub region: String,
    /// EC2's error code, or [`LOST_ANSWER`], or [`NOT_SENT`].
    pub code: String,
    pub message: String,
}

/// How a worker reacts to an error of EC2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// The call changed nothing. Repeat it after this many seconds, without a limit of attempts.
    Later(u32),
    /// The call may have been carried out. Wait, then look for its result before repeating it.
    MayHaveHappened,
    /// A transient fault. Repeat the call a limited number of times.
    Transient,
    /// The same call can never succeed.
    Never(ErrorName),
}

impl Ec2Error {
    /// Whether a code says that EC2 refused the call because there were too many calls.
    pub fn is_throttle(code: &str) -> bool {
        THROTTLES.contains(&code)
    }

    /// The reaction to this error.
    ///
    /// Sources: the EC2 API reference, "Error codes for the Amazon EC2 API"; the EBS user guide on copying.
    pub fn reaction(&self) -> Reaction {
        use ErrorName::*;
        use Reaction::*;
        match self.code.as_str() {
            // The destination has its limit of copies in flight.
            "ResourceLimitExceeded" => Later(60),
            // Allowed is one snapshot of a volume in 15 s.
            "SnapshotCreationPerVolumeRateExceeded" => Later(15),
            "ConcurrentSnapshotLimitExceeded" | "PendingSnapshotLimitExceeded" => Later(60),
            code if Self::is_throttle(code) => Later(10),
            "ConcurrentTagAccess" => Later(10),
            "InvalidState" | "IncorrectState" => Later(60),
            LOST_ANSWER | "InternalError" | "InternalFailure" | "ServerInternal" | "ServiceUnavailable"
            | "Unavailable" => MayHaveHappened,
            // The request was on its way for so long that its signature expired.
            NOT_SENT | "RequestExpired" | "InvalidSecurity.RequestHasExpired" => Transient,
            "InvalidSnapshot.NotFound" => Never(SnapshotNotFound),
            "InvalidVolume.NotFound" => Never(VolumeNotFound),
            "InvalidInstanceID.NotFound" | "IncorrectInstanceState" => Never(InstanceNotFound),
            "SnapshotCopyUnsupported.InterRegion" => Never(CopyNotSupported),
            "InvalidRegion" | "OptInRequired" | "AuthFailure" => Never(RegionNotEnabled),
            "UnauthorizedOperation" => Never(AccessDenied),
            "CustomerKeyHasBeenRevoked" => Never(KeyNotAccessible),
            "InvalidTagKey.Malformed" | "TagLimitExceeded" | "TagPolicyViolation" => Never(TagsRefused),
            "SnapshotLimitExceeded" => Never(SnapshotLimitExceeded),
            _ => Never(Ec2Refused),
        }
    }

    /// The name for operators.
    pub fn name(&self) -> ErrorName {
        match self.reaction() {
            Reaction::Never(name) => name,
            _ => ErrorName::Ec2Unavailable,
        }
    }
}

impl From<Ec2Error> for Failure {
    /// The failure of a task that gives up because of this error.
    fn from(error: Ec2Error) -> Self {
        Self::new(error.name(), error)
    }
}

/// An answer of Systems Manager that is an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action}: {code}: {message}")]
pub struct SsmError {
    /// The call, such as `SendCommand`.
    pub action: &'static str,
    /// The error's code, or [`LOST_ANSWER`], or [`NOT_SENT`].
    pub code: String,
    /// Its message.
    pub message: String,
}

impl SsmError {
    /// Whether a code says that Systems Manager refused the call because there were too many calls.
    pub fn is_throttle(code: &str) -> bool {
        ["ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyRequestsException"].contains(&code)
    }

    /// What follows from it.
    ///
    /// Sources: the Systems Manager API reference, `SendCommand` and "Common Error Types".
    pub fn reaction(&self) -> Reaction {
        use Reaction::*;
        match self.code.as_str() {
            code if Self::is_throttle(code) => Later(5),
            LOST_ANSWER | "InternalServerError" | "InternalFailure" | "ServiceUnavailable" => MayHaveHappened,
            NOT_SENT | "RequestExpired" | "ExpiredTokenException" => Transient,
            "InvalidInstanceId" => Never(ErrorName::HookNotManaged),
            "AccessDeniedException" | "AccessDenied" => Never(ErrorName::AccessDenied),
            _ => Never(ErrorName::SsmRefused),
        }
    }

    /// The name for operators.
    pub fn name(&self) -> ErrorName {
        match self.reaction() {
            Reaction::Never(name) => name,
            _ => ErrorName::SsmUnavailable,
        }
    }
}

impl From<SsmError> for Failure {
    /// The failure of a step that gives up at this error.
    fn from(error: SsmError) -> Self {
        Self::new(error.name(), error)
    }
}

/// The error name for a copy in `error`, from its `StateMessage`.
///
/// Source: the EBS user guide, "Copy an Amazon EBS snapshot": a key that cannot be used is reported only there.
pub fn name_of_broken_copy(state_message: &str) -> ErrorName {
    match state_message.contains("key ID is not accessible") {
        true => ErrorName::KeyNotAccessible,
        false => ErrorName::CopyFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> Ec2Error {
        Ec2Error { action: "CopySnapshot", region: "us-east-1".into(), code: code.into(), message: "no".into() }
    }

    #[test]
    fn a_full_destination_is_waited_for_and_never_fails() {
        assert!(matches!(error("ResourceLimitExceeded").reaction(), Reaction::Later(_)));
        assert!(matches!(error("RequestLimitExceeded").reaction(), Reaction::Later(_)));
    }

    #[test]
    fn what_may_have_happened_is_never_repeated_blindly() {
        for code in
            ["InternalError", "InternalFailure", "ServerInternal", "ServiceUnavailable", "Unavailable", LOST_ANSWER]
        {
            assert_eq!(error(code).reaction(), Reaction::MayHaveHappened, "{code}");
        }
    }

    #[test]
    fn a_request_that_came_too_late_is_sent_again() {
        assert_eq!(error("RequestExpired").reaction(), Reaction::Transient);
    }

    #[test]
    fn an_unknown_code_fails_with_everything_that_ec2_said() {
        let failure = Failure::from(error("SomethingNew"));
        assert_eq!(failure.to_string(), "Ec2Refused: CopySnapshot in us-east-1: SomethingNew: no");
    }

    #[test]
    fn a_cause_never_has_more_than_a_thousand_characters() {
        for (given, kept) in
            [("ü".repeat(1000), 1000), ("ü".repeat(1001), 1000), ("x".repeat(9), 9), (String::new(), 0)]
        {
            let failure = Failure::new(ErrorName::Ec2Refused, &given);
            assert_eq!(failure.cause.chars().count(), kept);
            assert_eq!(failure.cause.ends_with('…'), given.chars().count() > 1000);
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_has_its_own_name() {
        assert_eq!(name_of_broken_copy("Given key ID is not accessible"), ErrorName::KeyNotAccessible);
        assert_eq!(name_of_broken_copy(""), ErrorName::CopyFailed);
    }
}
