//! Why the reading of a snapshot stops before its end, and what that says of the snapshot.

use domain::{
    blocks::{BlockError, BlockReaction},
    error::Failure,
};

/// Why reading has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Throttled. Go on after so many seconds.
    Later(u32),
    /// The rest is for another invocation.
    Onward,
    /// As many blocks were read as may be.
    Enough,
    /// It did not answer, or not in a way that says anything of the snapshot.
    Unanswered(Failure),
    /// The snapshot is not proven, for certain.
    Failed(Failure),
    /// The task can never succeed, which says nothing of the snapshot's data.
    Impossible(Failure),
}

impl From<BlockError> for Stop {
    fn from(error: BlockError) -> Self {
        match error.reaction() {
            BlockReaction::Later(seconds) => Self::Later(seconds),
            BlockReaction::TokenExpired | BlockReaction::Transient => Self::Unanswered(error.into()),
            // A key that is refused to this function says nothing of the data: its policy may be changed tomorrow.
            BlockReaction::Never(_) => Self::Impossible(error.into()),
        }
    }
}
