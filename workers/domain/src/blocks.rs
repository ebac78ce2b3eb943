//! The blocks of a snapshot, as EBS hands them out, and the meaning of each of its error codes.
//!
//! A block that was never written is in no list: it reads as zeros.
#![warn(missing_docs)]

use crate::error::{ErrorName, Failure, LOST_ANSWER};

/// Bytes of a block (EBS user guide, "EBS direct APIs").
pub const BLOCK_BYTES: u64 = 512 * 1024;
/// Blocks in one page of a list, at most and at least (API reference, `ListSnapshotBlocks`).
pub const BLOCKS_PER_PAGE: u32 = 10_000;
/// See [`BLOCKS_PER_PAGE`].
pub const BLOCKS_PER_SMALL_PAGE: u32 = 100;
/// The length of a block, as memory has it.
#[allow(clippy::cast_possible_truncation)] // 512 KiB.
pub const BLOCK_LENGTH: usize = BLOCK_BYTES as usize;

/// A page of a block list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockPage {
    /// In the order of their indices. It may be empty, and not the last one.
    pub blocks: Vec<ListedBlock>,
    /// The token of the next page; none after the last one.
    pub next: Option<String>,
}

/// A block in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBlock {
    /// Its place in the volume, in blocks.
    pub index: u32,
    /// With it, the block can be read for some days.
    pub token: String,
}

/// Where a page of a list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStart<'a> {
    /// With the block of this index, or the next one that was written.
    Index(u32),
    /// Where the page before it has ended.
    Token(&'a str),
}

/// A block that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its bytes.
    pub data: Vec<u8>,
    /// How many bytes EBS says that it has.
    pub length: usize,
    /// The SHA-256 that EBS keeps of it, in Base64.
    pub checksum: String,
}

/// A failed call of the EBS direct APIs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} in {region}: {code}{}: {message}", reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
#[allow(missing_docs)]
pub struct BlockError {
    /// The call, such as `GetSnapshotBlock`.
    pub action: &'static str,
    pub region: String,
    /// EBS's error code, or [`LOST_ANSWER`], or [`crate::error::NOT_SENT`].
    pub code: String,
    /// What EBS says more exactly, in a word of its own.
    pub reason: Option<String>,
    pub message: String,
}

/// How a worker reacts to an error of the EBS direct APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockReaction {
    /// Too many calls. Again after this many seconds, without a limit of attempts.
    Later(u32),
    /// The token of a page or of a block is not known any more: ask for another one.
    TokenExpired,
    /// No answer, or none that says anything of the snapshot. Again, a limited number of times.
    Transient,
    /// The same call can never succeed.
    Never(ErrorName),
}

impl BlockError {
    /// Whether a code says that EBS refused the call because there were too many.
    pub fn is_throttle(code: &str) -> bool {
        const CODES: &[&str] = &[
            "RequestThrottledException",
            "ThrottlingException",
            "Throttling",
            "ServiceQuotaExceededException",
            "ConcurrentLimitExceededException",
            "RequestLimitExceeded",
        ];
        CODES.contains(&code)
    }

    /// The reaction to this error.
    ///
    /// Sources: the API reference of the EBS direct APIs, "Common Error Types", and `ValidationException`,
    /// `AccessDeniedException`, `ResourceNotFoundException` with their reasons.
    pub fn reaction(&self) -> BlockReaction {
        use BlockReaction::*;
        use ErrorName::*;
        match (self.code.as_str(), self.reason.as_deref().unwrap_or_default()) {
            (code, _) if Self::is_throttle(code) => Later(15),
            (_, "INVALID_PAGE_TOKEN" | "INVALID_BLOCK_TOKEN") => TokenExpired,
            // The dependency is KMS.
            (_, "DEPENDENCY_ACCESS_DENIED" | "DEPENDENCY_RESOURCE_NOT_FOUND" | "INVALID_CUSTOMER_KEY") => {
                Never(KeyNotAccessible)
            }
            ("ResourceNotFoundException", _) => Never(SnapshotNotFound),
            ("AccessDeniedException" | "AccessDenied", _) => Never(AccessDenied),
            ("UnrecognizedClientException" | "InvalidClientTokenId" | "OptInRequired", _) => Never(RegionNotEnabled),
            // It may be an order that nobody can fulfil, such as the block of an archived snapshot, and says nothing of
            // the data.
            ("ValidationException", _) => Never(SnapshotUnreadable),
            (LOST_ANSWER, _) => Transient,
            _ => Transient,
        }
    }

    /// The name for operators.
    pub fn name(&self) -> ErrorName {
        match self.reaction() {
            BlockReaction::Never(name) => name,
            _ => ErrorName::SnapshotUnreadable,
        }
    }
}

impl From<BlockError> for Failure {
    /// The failure of a task that gives up because of this error.
    fn from(error: BlockError) -> Self {
        Self::new(error.name(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, reason: &str) -> BlockError {
        let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        BlockError {
            action: "GetSnapshotBlock",
            region: "us-east-1".into(),
            code: code.into(),
            reason,
            message: "no".into(),
        }
    }

    #[test]
    fn only_what_says_something_of_the_snapshot_is_a_failure_of_the_snapshot() {
        use BlockReaction::*;
        for (code, reason, expected) in [
            ("RequestThrottledException", "ACCOUNT_THROTTLED", Later(15)),
            ("ThrottlingException", "", Later(15)),
            ("ServiceQuotaExceededException", "DEPENDENCY_SERVICE_QUOTA_EXCEEDED", Later(15)),
            ("ValidationException", "INVALID_PAGE_TOKEN", TokenExpired),
            ("ValidationException", "INVALID_BLOCK_TOKEN", TokenExpired),
            ("ValidationException", "INVALID_CUSTOMER_KEY", Never(ErrorName::KeyNotAccessible)),
            ("ValidationException", "INVALID_PARAMETER_VALUE", Never(ErrorName::SnapshotUnreadable)),
            ("AccessDeniedException", "DEPENDENCY_ACCESS_DENIED", Never(ErrorName::KeyNotAccessible)),
            ("AccessDeniedException", "UNAUTHORIZED_ACCOUNT", Never(ErrorName::AccessDenied)),
            ("AccessDeniedException", "", Never(ErrorName::AccessDenied)),
            ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND", Never(ErrorName::SnapshotNotFound)),
            ("ResourceNotFoundException", "DEPENDENCY_RESOURCE_NOT_FOUND", Never(ErrorName::KeyNotAccessible)),
            ("InternalServerException", "", Transient),
            (LOST_ANSWER, "", Transient),
            ("SomethingNew", "", Transient),
        ] {
            assert_eq!(error(code, reason).reaction(), expected, "{code} {reason}");
        }
    }

    #[test]
    fn an_error_says_everything_that_ebs_has_said() {
        let failure = Failure::from(error("AccessDeniedException", "DEPENDENCY_ACCESS_DENIED"));
        let words =
            "KeyNotAccessible: GetSnapshotBlock in us-east-1: AccessDeniedException (DEPENDENCY_ACCESS_DENIED): no";
        assert_eq!(failure.to_string(), words);
        let failure = Failure::from(error("InternalServerException", ""));
        assert_eq!(
            failure.to_string(),
            "SnapshotUnreadable: GetSnapshotBlock in us-east-1: InternalServerException: no"
        );
    }
}
