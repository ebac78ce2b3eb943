use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    claims::{Claim, copies_prefix, copy_key},
    copies::STUCK_AFTER,
    error::{Ec2Error, Failure},
    fleet::{Snapshot, SnapshotState, oldest_live},
    ids::{Region, SnapshotId},
    ports::{Claims, Ec2, SnapshotFilter},
    tags::SnapshotTags,
};
use futures::future::join_all;

/// The clocks of S3 and the function differ by less.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);

/// The copies in a destination before the batch makes any, and the claims of other attempts there.
pub(crate) struct Destination<'a> {
    region: &'a Region,
    home: &'a Region,
    looked: DateTime<Utc>,
    takeover: TimeDelta,
    /// This system's pending copies, without stuck ones.
    pending: BTreeSet<SnapshotId>,
    /// Copies of the home region's snapshots in any state, by source.
    copies: BTreeMap<SnapshotId, Vec<Snapshot>>,
    /// The versions of the claims that are young enough to matter, by source.
    young: BTreeMap<SnapshotId, String>,
    /// The young claims with a copy in flight that EC2 does not show.
    in_flight: BTreeMap<SnapshotId, Claim>,
}

impl<'a> Destination<'a> {
    pub(crate) fn new(region: &'a Region, home: &'a Region, looked: DateTime<Utc>, takeover: TimeDelta) -> Self {
        let (pending, copies) = (BTreeSet::new(), BTreeMap::new());
        let (young, in_flight) = (BTreeMap::new(), BTreeMap::new());
        Self { region, home, looked, takeover, pending, copies, young, in_flight }
    }

    /// Reads the pending copies: they are the count, and may be copies of the batch's sources.
    ///
    /// Stuck copies are left to the second look: one is only adopted if there is no completed copy.
    pub(crate) async fn look_at_pending(&mut self, ec2: &impl Ec2) -> Result<(), Ec2Error> {
        ec2.each_snapshot(self.region, &SnapshotFilter::PendingCopies, &mut |copy| {
            if !self.is_stuck(&copy) {
                self.note(copy);
            }
        })
        .await
    }

    /// A stuck copy takes no slot.
    fn is_stuck(&self, pending: &Snapshot) -> bool {
        self.looked - pending.started > STUCK_AFTER
    }

    /// Reads all copies of the batch's sources, and of the sources that other attempts claim.
    ///
    /// This look is only made if a slot is free. EC2 joins filters by *and*, so that one call cannot ask for these copies
    /// and for the pending ones; and a region has too many completed copies to list all.
    pub(crate) async fn look_for_copies(&mut self, ec2: &impl Ec2, sources: Vec<SnapshotId>) -> Result<(), Ec2Error> {
        let claimed = self.young.keys().filter(|source| self.copy_of(source).is_none()).cloned();
        let sources: BTreeSet<SnapshotId> = sources.into_iter().chain(claimed).collect();
        let which = SnapshotFilter::CopiesOf(sources.into_iter().collect());
        ec2.each_snapshot(self.region, &which, &mut |copy| self.note(copy)).await
    }

    fn note(&mut self, copy: Snapshot) {
        if copy.state == SnapshotState::Pending && !self.is_stuck(&copy) {
            self.pending.insert(copy.id.clone());
        }
        let read = SnapshotTags::read(&copy.tags);
        if let (Some(source), Some(from)) = (read.source_snapshot, read.from_region)
            && from == self.home.as_str()
        {
            self.copies.entry(source).or_default().push(copy);
        }
    }

    /// Lists the claims that are young enough to matter, without reading their state.
    pub(crate) async fn list_claims(&mut self, claims: &impl Claims) -> Result<(), Failure> {
        self.young = self.young_claims(claims).await?;
        Ok(())
    }

    async fn young_claims(&self, claims: &impl Claims) -> Result<BTreeMap<SnapshotId, String>, Failure> {
        let prefix = copies_prefix(self.region);
        let since = self.looked - self.takeover - CLOCKS_DIFFER;
        let young = claims.list(&prefix).await?.into_iter().filter(|listed| listed.written >= since);
        Ok(young.filter_map(|listed| Some((listed.key.strip_prefix(&prefix)?.parse().ok()?, listed.version))).collect())
    }

    /// Reads the young claims whose copy EC2 does not show.
    pub(crate) async fn read_claims(&mut self, claims: &impl Claims) -> Result<(), Failure> {
        let unseen: Vec<SnapshotId> =
            self.young.keys().filter(|source| self.copy_of(source).is_none()).cloned().collect();
        let keys: Vec<String> = unseen.iter().map(|source| copy_key(self.region, source)).collect();
        let stored = join_all(keys.iter().map(|key| claims.stored(key))).await;
        for (source, stored) in unseen.into_iter().zip(stored) {
            let Some(stored) = stored? else { continue };
            let mut claim = Claim::read(&stored);
            if claim.is_in_flight(self.shown(&source), self.looked, self.takeover) {
                claim.made.retain(|made| made.counts(self.shown(&source), self.looked));
                self.in_flight.insert(source.clone(), claim);
            }
            self.young.insert(source, stored.version);
        }
        Ok(())
    }

    /// The number of copies in flight that are known.
    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len() + self.in_flight.len()
    }

    /// The number of copies in flight without the batch's own claims, but with claims that are new since they were read.
    pub(crate) async fn others_now(&self, claims: &impl Claims, own: &BTreeSet<&SnapshotId>) -> Result<usize, Failure> {
        let now = self.young_claims(claims).await?;
        let is_others = |source: &&SnapshotId| !own.contains(source) && self.copy_of(source).is_none();
        let new = now.iter().filter(|(source, version)| self.young.get(*source) != Some(*version));
        let new = new.map(|(source, _)| source).filter(is_others);
        let known = self.in_flight.keys().filter(is_others);
        Ok(self.pending.len() + known.chain(new).collect::<BTreeSet<_>>().len())
    }

    /// The copies of a source that EC2 shows.
    pub(crate) fn shown(&self, source: &SnapshotId) -> &[Snapshot] {
        self.copies.get(source).map_or(&[], Vec::as_slice)
    }

    /// The copy to adopt for a source.
    pub(crate) fn copy_of(&self, source: &SnapshotId) -> Option<&Snapshot> {
        satisfying(self.shown(source))
    }

    /// The claim under which another attempt copies, or has copied, a source.
    pub(crate) fn claim_in_flight(&self, source: &SnapshotId) -> Option<&Claim> {
        self.in_flight.get(source)
    }
}

/// The copy to adopt, of several copies of a source: a completed one if there is one.
fn satisfying(copies: &[Snapshot]) -> Option<&Snapshot> {
    let completed = copies.iter().filter(|copy| copy.state == SnapshotState::Completed);
    oldest_live(completed).or_else(|| oldest_live(copies))
}
