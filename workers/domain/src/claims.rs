//! Claims: two attempts at the same moment make one snapshot or copy, although EC2 has no client token for these calls.
//!
//! EC2's tags are the only record of what exists. Before an attempt makes something, it writes a claim into the report
//! bucket, on the condition that there is none. A second attempt finds the claim, and waits for what the first one makes.
//!
//! | key | claims |
//! |---|---|
//! | `claims/run/RUN` | the run, for an execution ([`RunClaim`]) |
//! | `claims/snapshot/RUN/INSTANCE` | an instance's snapshots in a run |
//! | `claims/copy/DESTINATION/SNAPSHOT` | the copy of a snapshot to a region |
//! | `claims/hook/RUN/INSTANCE/EXECUTION/SCRIPT` | a script of a hook ([`crate::hooks::claim`]) |
//!
//! - An attempt is one invocation of a worker. Its name is random: a task token is a secret, and a message's id changes.
//! - If EC2 refuses the call, the claim becomes free. If the call succeeds, the ids are written into the claim, and other
//!   attempts adopt them before EC2 describes them. If the answer is lost, the claim stays open.
//! - An open claim is taken over when it is older than the functions' time-out plus twice `RetrySeconds`, and EC2 shows
//!   nothing. By then its holder is dead, and EC2 would show what it made.
//! - Ids in `error`, and ids that EC2 has not described for ten minutes, do not count.
//!
//! The bucket deletes claims after two days. A claim matters for ten minutes; the claim of a run matters until the run
//! ends, which is within two days.

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

/// The time-out of the functions that hold claims; `template.yaml` has the same.
pub const FUNCTION_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// An invocation makes nothing new after this time: the answer could come after the function's time-out.
pub const ACT_WITHIN: TimeDelta = TimeDelta::seconds(30);

/// An id that EC2 does not describe for this long does not exist; before, it may only be late (EC2 is eventually
/// consistent).
pub const MAX_DESCRIBE_LAG: TimeDelta = TimeDelta::minutes(10);

/// How often one invocation tries to write a claim that others write at the same time.
pub const MAX_TRIES: usize = 5;

/// The key of a run's claim.
pub fn run_key(run_id: &str) -> String {
    format!("claims/run/{run_id}")
}

/// The key of the claim on an instance's snapshots in a run.
pub fn snapshot_key(run_id: &str, instance: &InstanceId) -> String {
    format!("claims/snapshot/{run_id}/{instance}")
}

/// The prefix of the claims on copies to a region; the source's id follows.
pub fn copies_prefix(destination: &Region) -> String {
    format!("claims/copy/{destination}/")
}

/// The key of the claim on a copy.
pub fn copy_key(destination: &Region, source: &SnapshotId) -> String {
    format!("{}{source}", copies_prefix(destination))
}

/// The random name of one invocation of a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt(String);

impl Attempt {
    /// No other attempt may have this name.
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

/// The state of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The holder may be about to call EC2, or did not get the answer.
    Open,
    /// The holder has finished, and made nothing.
    Free,
    /// The holder has finished, and the claim has the ids of what it made.
    Made,
}

/// A snapshot or copy that was made under a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub id: SnapshotId,
    /// The volume of a snapshot; `None` for a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// When it was made, to the minute.
    pub at: DateTime<Utc>,
}

impl Made {
    /// Whether it counts: EC2 shows it as live, or does not describe it yet.
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
    /// The holder.
    pub attempt: Attempt,
    /// When the holder claimed it.
    pub at: DateTime<Utc>,
    pub state: State,
    /// What this holder and earlier ones made.
    #[serde(default)]
    pub made: Vec<Made>,
}

impl Claim {
    /// Reads a stored claim. One that cannot be read counts as open, with an unknown holder.
    pub fn read(stored: &Stored) -> Self {
        serde_json::from_str(&stored.body).unwrap_or_else(|_| Self {
            attempt: Attempt::new("cannot be read"),
            at: stored.written,
            state: State::Open,
            made: Vec::new(),
        })
    }

    /// Whether the holder may still call EC2, or may have made something that EC2 does not show yet.
    pub fn is_open(&self, now: DateTime<Utc>, takeover: TimeDelta) -> bool {
        self.state == State::Open && now - self.at < takeover
    }

    /// Whether a copy is being made under it, or was just made, that EC2 does not show yet.
    ///
    /// It takes a slot for as long as an open claim at most: a copy that EC2 does not show by then may have been deleted.
    pub fn is_in_flight(&self, shown: &[Snapshot], now: DateTime<Utc>, takeover: TimeDelta) -> bool {
        let was_just_made = |made: &Made| now - made.at < takeover && made.counts(shown, now);
        self.is_open(now, takeover) || self.made.iter().any(was_just_made)
    }

    fn body(&self) -> String {
        json!(self).to_string()
    }
}

/// The age at which an open claim is taken over if EC2 shows nothing.
pub fn takeover(retry_seconds: u32) -> TimeDelta {
    FUNCTION_TIMEOUT + TimeDelta::seconds(2 * i64::from(retry_seconds))
}

/// The attempt that asks for a claim, and what EC2 showed to it.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest<'a> {
    pub attempt: &'a Attempt,
    /// A time before the attempt looked at EC2.
    pub looked: DateTime<Utc>,
    /// The snapshots or copies, in any state, that EC2 showed.
    pub shown: &'a [Snapshot],
    /// [`takeover`].
    pub takeover: TimeDelta,
}

/// Which attempt may make something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimDecision {
    /// The one that asked. It must call [`Held::close`] or [`Held::leave_open`] afterwards.
    Mine(Held),
    /// Not the one that asked: another attempt may still be making it, or everything wanted is made.
    ///
    /// Holds what was made under the claim and counts.
    Others(Vec<Made>),
}

/// A claim that this attempt holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    key: String,
    claim: Claim,
    version: String,
}

/// Claims `key`, if no other attempt holds it and `wanted`, given what was made under it, says that something is missing.
///
/// # Errors
///
/// [`ErrorName::StorageFailed`] if the claim cannot be written or read. Then nothing may be made.
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
            // The SDK repeated the call, and the first one had succeeded.
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

/// The failure after [`MAX_TRIES`]: nothing may be made.
pub fn contended(key: &str) -> Failure {
    Failure::new(
        ErrorName::StorageFailed,
        format!("{key}: others wrote it at the same time, {MAX_TRIES} times in a row"),
    )
}

impl Held {
    pub fn made(&self) -> &[Made] {
        &self.claim.made
    }

    /// Renews a claim that is older than half of `takeover`, so that nobody takes it over during the call of EC2.
    ///
    /// Returns whether this attempt still holds it.
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

    /// Writes down what was made before an answer was lost. The claim stays open.
    pub async fn leave_open(mut self, claims: &impl Claims, made: Vec<Made>) -> Result<(), Failure> {
        if made.is_empty() {
            return Ok(());
        }
        self.claim.made.extend(made);
        self.write(claims).await.map(|_| ())
    }

    /// Writes down what was made. If that is nothing, the claim becomes free.
    pub async fn close(mut self, claims: &impl Claims, made: Vec<Made>) -> Result<(), Failure> {
        self.claim.made.extend(made);
        self.claim.state = if self.claim.made.is_empty() { State::Free } else { State::Made };
        self.write(claims).await.map(|_| ())
    }

    /// Writes the claim. Returns whether this attempt still holds it.
    async fn write(&mut self, claims: &impl Claims) -> Result<bool, Failure> {
        overwrite(claims, &self.key, &self.claim.body(), &mut self.version).await
    }
}

/// Writes over a claim of this version, which becomes that of what is there then. Returns whether that is `body`.
pub(crate) async fn overwrite(
    claims: &impl Claims,
    key: &str,
    body: &str,
    version: &mut String,
) -> Result<bool, Failure> {
    for _ in 0..MAX_TRIES {
        match claims.replace(key, body, version).await? {
            Written::As(new) => {
                *version = new;
                return Ok(true);
            }
            Written::Conflict => {}
            Written::Refused => {
                let Some(stored) = claims.stored(key).await? else { return Ok(false) };
                // Either the SDK repeated the call, and the first one had succeeded; or the claim was taken over.
                *version = stored.version;
                return Ok(stored.body == body);
            }
        }
    }
    Err(contended(key))
}

/// The claim of an execution on its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunClaim {
    /// The execution's ARN.
    pub execution: String,
    /// The parts of the input that change what is done, in one form: two inputs with the same effect are equal.
    pub input: Value,
    pub started: DateTime<Utc>,
}

impl RunClaim {
    /// The claim of a run that is not a dry run.
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
