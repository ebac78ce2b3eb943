//! Claims: what is being made at this moment is made once, although EC2 has no client token.
//!
//! EC2's tags are the only record of what exists. Before an attempt makes something it writes a claim into the report
//! bucket, on the condition that there is none; whoever comes second finds it, and waits for what the first one makes.
//!
//! | key | claims |
//! |---|---|
//! | `claims/run/RUN` | the run, for an execution ([`RunClaim`]) |
//! | `claims/snapshot/RUN/INSTANCE` | an instance's snapshots in a run |
//! | `claims/copy/DESTINATION/SNAPSHOT` | the copy of a snapshot to a region |
//! | `claims/hook/RUN/INSTANCE/EXECUTION/SCRIPT` | a script of a hook ([`crate::hooks::claim`]) |
//!
//! - An attempt is one invocation of a worker. Its id is random: a task token is a secret, and a message's id changes.
//! - A definite refusal by EC2 sets the claim free; an act that succeeded writes down the ids, by which others adopt
//!   what EC2 does not describe yet; an answer that was lost leaves the claim open.
//! - An open claim is taken over when it is older than the functions' time-out and twice `RetrySeconds`, and EC2 shows
//!   nothing: its holder is dead by then, and what it made would have come to light.
//! - Ids that are in `error`, or not described for ten minutes, count as nothing.
//!
//! The bucket deletes claims after two days; nothing depends on one for longer than ten minutes, but runs: those end
//! within the two days.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    error::{ErrorName, Failure},
    fleet::Snapshot,
    ids::{InstanceId, Region, SnapshotId, VolumeId},
    ports::{Claims, Stored, Written},
    run::{AllowMassExpire, Run},
};

/// The time-out of the functions that hold claims, as `template.yaml` has it.
pub const FUNCTION_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// For so long after it began an invocation begins to make something: the answer to a later call could miss its end.
pub const ACT_WITHIN: TimeDelta = TimeDelta::seconds(30);

/// For so long an id that is not described may only be late (EC2 is eventually consistent).
pub const MAX_DESCRIBE_LAG: TimeDelta = TimeDelta::minutes(10);

/// How often one invocation tries to write a claim against others that write it, too.
pub const MAX_TRIES: usize = 5;

/// The claim of a run.
pub fn run_key(run: &str) -> String {
    format!("claims/run/{run}")
}

/// The claim of an instance's snapshots in a run.
pub fn snapshot_key(run: &str, instance: &InstanceId) -> String {
    format!("claims/snapshot/{run}/{instance}")
}

/// What the claims of copies to a region begin with; the source's id follows.
pub fn copies_prefix(destination: &Region) -> String {
    format!("claims/copy/{destination}/")
}

/// The claim of a copy.
pub fn copy_key(destination: &Region, source: &SnapshotId) -> String {
    format!("{}{source}", copies_prefix(destination))
}

/// One invocation of a worker, by a random name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt(String);

impl Attempt {
    /// The attempt of this name, which no other has.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The same attempt, at something that is done while the hook of this execution id holds an instance frozen.
    pub fn during(&self, freeze: &str) -> Self {
        Self(format!("{}/{freeze}", self.0))
    }

    /// Whether it is one that is done during this freeze.
    pub fn is_during(&self, freeze: &str) -> bool {
        self.0.rsplit_once('/').is_some_and(|(_, during)| during == freeze)
    }
}

/// How far the holder of a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may be acting, or may have acted without hearing the answer.
    Open,
    /// It made nothing, and acts no more.
    Free,
    /// It acts no more; what it made is known.
    Made,
}

/// Something that was made under a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The snapshot or copy.
    pub id: SnapshotId,
    /// The volume of a snapshot; none for a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// When it was made, give or take a minute.
    pub at: DateTime<Utc>,
}

impl Made {
    /// Whether it counts, beside what EC2 shows: it is live, or may be described late.
    pub fn counts(&self, shown: &[Snapshot], now: DateTime<Utc>) -> bool {
        match shown.iter().find(|snapshot| snapshot.id == self.id) {
            Some(snapshot) => snapshot.is_live(),
            None => now - self.at < MAX_DESCRIBE_LAG,
        }
    }
}

/// A claim on snapshots or on a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who holds it.
    pub attempt: Attempt,
    /// When it was claimed.
    pub at: DateTime<Utc>,
    /// How far the holder is.
    pub state: State,
    /// What was made under it, by this holder or those before.
    #[serde(default)]
    pub made: Vec<Made>,
}

impl Claim {
    /// Reads a stored claim. One that cannot be read may be anybody's, and open.
    pub fn read(stored: &Stored) -> Self {
        serde_json::from_str(&stored.body).unwrap_or_else(|_| Self {
            attempt: Attempt::new("cannot be read"),
            at: stored.written,
            state: State::Open,
            made: Vec::new(),
        })
    }

    /// Whether its holder may still be acting, or may have made what EC2 does not show yet.
    pub fn is_open(&self, now: DateTime<Utc>, takeover: TimeDelta) -> bool {
        self.state == State::Open && now - self.at < takeover
    }

    /// Whether something is being made under it, or was just made, that EC2 does not show yet.
    ///
    /// It takes a slot for no longer than an open claim would: what does not show then may have been deleted.
    pub fn is_in_flight(&self, shown: &[Snapshot], now: DateTime<Utc>, takeover: TimeDelta) -> bool {
        let was_just_made = |made: &Made| now - made.at < takeover && made.counts(shown, now);
        self.is_open(now, takeover) || self.made.iter().any(was_just_made)
    }

    fn body(&self) -> String {
        json!(self).to_string()
    }
}

/// The age at which an open claim is taken over where EC2 shows nothing.
pub fn takeover(retry_seconds: u32) -> TimeDelta {
    FUNCTION_TIMEOUT + TimeDelta::seconds(2 * i64::from(retry_seconds))
}

/// Who asks for a claim, and what it knows.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest<'a> {
    /// The attempt.
    pub attempt: &'a Attempt,
    /// When this attempt began; before it looked.
    pub looked: DateTime<Utc>,
    /// What EC2 showed then of what is claimed, whatever its state.
    pub shown: &'a [Snapshot],
    /// [`takeover`].
    pub takeover: TimeDelta,
}

/// Whose turn it is to make something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimDecision {
    /// The asking attempt's: it acts, and says how that went.
    Mine(Held),
    /// Nobody's now: another one acts, or has made all that is wanted.
    ///
    /// What was made under its claim, as far as it counts.
    Others(Vec<Made>),
}

/// A claim, in the hands of the attempt that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    key: String,
    claim: Claim,
    version: String,
}

/// Claims `key` at `now`, where nobody is at it and `wanted` says of what was made under it that something is missing.
///
/// # Errors
///
/// [`ErrorName::StorageFailed`] where the claim cannot be written or read, or others write it all the time: nothing is
/// to be made then.
pub async fn take(
    claims: &impl Claims,
    key: String,
    asking: ClaimRequest<'_>,
    now: DateTime<Utc>,
    wanted: impl Fn(&[Made]) -> bool,
) -> Result<ClaimDecision, Failure> {
    let ClaimRequest { attempt, looked, shown, takeover } = asking;
    let mut claim = Claim { attempt: attempt.clone(), at: now, state: State::Open, made: Vec::new() };
    for _ in 0..MAX_TRIES {
        match claims.create(&key, &claim.body()).await? {
            Written::As(version) => return Ok(ClaimDecision::Mine(Held { key, claim, version })),
            Written::Conflict => continue,
            Written::Refused => {}
        }
        let Some(stored) = claims.stored(&key).await? else { continue };
        let there = Claim::read(&stored);
        if there.attempt == *attempt && there.state == State::Open {
            // Its own call, which was repeated on the way.
            return Ok(ClaimDecision::Mine(Held { key, claim: there, version: stored.version }));
        }
        claim.made = there.made.iter().filter(|made| made.counts(shown, looked)).cloned().collect();
        if there.is_open(looked, takeover) || !wanted(&claim.made) {
            return Ok(ClaimDecision::Others(claim.made));
        }
        match claims.replace(&key, &claim.body(), &stored.version).await? {
            Written::As(version) => return Ok(ClaimDecision::Mine(Held { key, claim, version })),
            Written::Conflict | Written::Refused => claim.made.clear(),
        }
    }
    Err(contended(&key))
}

/// The failure where that was not often enough: nothing is to be made then.
pub fn contended(key: &str) -> Failure {
    Failure::new(ErrorName::StorageFailed, format!("{key}: others write it, {MAX_TRIES} times in a row"))
}

impl Held {
    /// What was made under it.
    pub fn made(&self) -> &[Made] {
        &self.claim.made
    }

    /// Claims anew where the claim is older than half of `takeover`, so that none is acted on when others take it over.
    ///
    /// Answers whether it is still held.
    pub async fn renew(
        &mut self,
        claims: &impl Claims,
        now: DateTime<Utc>,
        takeover: TimeDelta,
    ) -> Result<bool, Failure> {
        if now - self.claim.at <= takeover / 2 {
            return Ok(true);
        }
        self.claim.at = now;
        self.write(claims).await
    }

    /// Writes down what was made before an answer was lost; the claim stays open.
    pub async fn leave_open(mut self, claims: &impl Claims, made: Vec<Made>) -> Result<(), Failure> {
        if made.is_empty() {
            return Ok(());
        }
        self.claim.made.extend(made);
        self.write(claims).await.map(|_| ())
    }

    /// Writes down what was made; where there is nothing, the claim is free.
    pub async fn close(mut self, claims: &impl Claims, made: Vec<Made>) -> Result<(), Failure> {
        self.claim.made.extend(made);
        self.claim.state = if self.claim.made.is_empty() { State::Free } else { State::Made };
        self.write(claims).await.map(|_| ())
    }

    /// Writes it; whether it is still this attempt's.
    async fn write(&mut self, claims: &impl Claims) -> Result<bool, Failure> {
        let body = self.claim.body();
        for _ in 0..MAX_TRIES {
            match claims.replace(&self.key, &body, &self.version).await? {
                Written::As(version) => {
                    self.version = version;
                    return Ok(true);
                }
                Written::Conflict => {}
                Written::Refused => {
                    let Some(stored) = claims.stored(&self.key).await? else { return Ok(false) };
                    // Its own call, which was repeated on the way; or somebody has taken it over.
                    let own = stored.body == body;
                    self.version = stored.version;
                    return Ok(own);
                }
            }
        }
        Err(contended(&self.key))
    }
}

/// The claim of an execution on its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunClaim {
    /// The execution's ARN.
    pub execution: String,
    /// What it was asked to do, the same for the same, however it was written.
    pub input: Value,
    /// When it was started.
    pub started: DateTime<Utc>,
}

impl RunClaim {
    /// That of an execution which acts.
    pub fn of(run: &Run) -> Self {
        let regions = match &run.allow_mass_expire {
            AllowMassExpire::Everywhere(true) => json!(true),
            AllowMassExpire::Regions(regions) if !regions.is_empty() => json!(regions),
            AllowMassExpire::Everywhere(false) | AllowMassExpire::Regions(_) => json!(false),
        };
        let input = json!({"phases": run.phases, "allowMassExpire": regions});
        Self { execution: run.execution.clone(), input, started: run.started }
    }
}

#[cfg(test)]
mod tests;
