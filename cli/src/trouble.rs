//! Exit codes, and what ends a command early.

use domain::error::{Ec2Error, Failure};

/// How a command ended; scripts go by the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// All is well.
    Well = 0,
    /// Something is owed, overdue, or failed.
    Owed = 1,
    /// The command line cannot be used, or names what does not exist.
    Usage = 2,
    /// AWS refused, or could not be reached, at least in part: the answer is not whole.
    Aws = 3,
}

impl Code {
    /// Owed where something is.
    pub fn owed_if(owed: bool) -> Self {
        if owed { Self::Owed } else { Self::Well }
    }
}

/// What ends a command without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The command line cannot be used, or names what does not exist.
    #[error("{0}")]
    Usage(String),
    /// AWS refused, or could not be reached.
    #[error("{0}")]
    Aws(String),
}

impl Trouble {
    /// The exit code.
    pub fn code(&self) -> Code {
        match self {
            Self::Usage(_) => Code::Usage,
            Self::Aws(_) => Code::Aws,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        // What is not this system's own is named by the call that failed.
        Self::Aws(failure.cause)
    }
}

impl From<Ec2Error> for Trouble {
    fn from(error: Ec2Error) -> Self {
        Self::Aws(error.to_string())
    }
}
