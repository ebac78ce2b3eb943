//! The claim of a command: each script of a hook is sent once, although `SendCommand` has no client token.
//!
//! `claims/hook/RUN/INSTANCE/EXECUTION/SCRIPT` in the report bucket, see [`crate::claims`]. It holds the command's id as
//! soon as SSM has answered, by which every later delivery of the message follows the same command.
//!
//! - Open, without a command: its holder is about to send it, or was killed while it did. A pre-script is never sent by
//!   another one then: the instance may be frozen, and is thawed. A post-script is: to thaw twice does no harm.
//! - Free: nothing runs under it, and nothing is owed to its holder.
//! - Made: the last of its commands is to be followed.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Script;
use crate::{
    claims::{Attempt, MAX_TRIES, State, contended, overwrite},
    error::Failure,
    ids::InstanceId,
    ports::{Claims, Stored, Written},
};

/// Where the claim of a script stands.
pub fn hook_key(run_id: &str, instance: &InstanceId, execution_id: &str, script: Script) -> String {
    format!("claims/hook/{run_id}/{instance}/{execution_id}/{script}")
}

/// A claim on a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookClaim {
    /// Who holds it.
    pub attempt: Attempt,
    /// When it was claimed, or its last command sent.
    pub at: DateTime<Utc>,
    /// How far the holder is.
    pub state: State,
    /// The ids of the commands that were sent.
    #[serde(default)]
    pub commands: Vec<String>,
    /// How often sending was tried, in all.
    #[serde(default)]
    pub tries: u32,
}

impl HookClaim {
    /// Reads a stored claim. One that cannot be read may be anybody's, and open.
    pub fn read(stored: &Stored) -> Self {
        serde_json::from_str(&stored.body).unwrap_or_else(|_| Self {
            attempt: Attempt::new("cannot be read"),
            at: stored.written,
            state: State::Open,
            commands: Vec::new(),
            tries: 0,
        })
    }

    /// The command that is to be followed.
    pub fn command(&self) -> Option<&str> {
        self.commands.last().map(String::as_str).filter(|_| self.state == State::Made)
    }

    /// For how long it has been as it is.
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        now - self.at
    }
}

/// A claim as it stands in the bucket, or in the hands of the attempt that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHookClaim {
    /// Where it stands.
    pub key: String,
    /// What it says.
    pub claim: HookClaim,
    /// Its version in the bucket.
    version: String,
}

impl StoredHookClaim {
    /// The claim that there is, if there is one.
    pub async fn find(claims: &impl Claims, key: &str) -> Result<Option<Self>, Failure> {
        let stored = claims.stored(key).await?;
        let found =
            |stored: Stored| Self { key: key.to_owned(), claim: HookClaim::read(&stored), version: stored.version };
        Ok(stored.map(found))
    }

    /// Claims a script of which there is no claim; none where another was faster.
    pub async fn create(
        claims: &impl Claims,
        key: &str,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, Failure> {
        let claim = HookClaim { attempt: attempt.clone(), at: now, state: State::Open, commands: Vec::new(), tries: 1 };
        let body = json!(claim).to_string();
        for _ in 0..MAX_TRIES {
            match claims.create(key, &body).await? {
                Written::As(version) => return Ok(Some(Self { key: key.to_owned(), claim, version })),
                Written::Conflict => continue,
                Written::Refused => {}
            }
            match Self::find(claims, key).await? {
                // Its own call, which was repeated on the way.
                Some(there) if there.claim == claim => return Ok(Some(there)),
                Some(_) => return Ok(None),
                None => {}
            }
        }
        Err(contended(key))
    }

    /// Claims it anew, of whomever it is; whether nobody was faster.
    pub async fn take(&mut self, claims: &impl Claims, attempt: &Attempt, now: DateTime<Utc>) -> Result<bool, Failure> {
        self.claim.attempt = attempt.clone();
        self.claim.tries += 1;
        self.claim.state = State::Open;
        self.claim.at = now;
        self.write(claims).await
    }

    /// Writes down the command that was sent.
    pub async fn sent(&mut self, claims: &impl Claims, command: String, now: DateTime<Utc>) -> Result<bool, Failure> {
        self.claim.commands.push(command);
        self.claim.state = State::Made;
        self.claim.at = now;
        self.write(claims).await
    }

    /// Sets it free: nothing runs under it.
    pub async fn set_free(&mut self, claims: &impl Claims, now: DateTime<Utc>) -> Result<bool, Failure> {
        self.claim.state = State::Free;
        self.claim.at = now;
        self.write(claims).await
    }

    /// Sets it free, as if nothing had been tried.
    pub async fn forget(&mut self, claims: &impl Claims, now: DateTime<Utc>) -> Result<bool, Failure> {
        self.claim.tries = 0;
        self.claim.commands.clear();
        self.set_free(claims, now).await
    }

    /// Writes it. Returns whether it was still what was read.
    async fn write(&mut self, claims: &impl Claims) -> Result<bool, Failure> {
        overwrite(claims, &self.key, &json!(self.claim).to_string(), &mut self.version).await
    }
}
