use crate::{
    fleet::{Snapshot, SnapshotState},
    ids::Region,
};

pub fn region(code: &str) -> Region {
    code.parse().unwrap_or_else(|problem| panic!("{problem}"))
}

/// The home region of the tests.
pub fn home() -> Region {
    region("eu-west-1")
}

pub fn with(mut snapshot: Snapshot, key: &str, value: &str) -> Snapshot {
    snapshot.tags.insert(key.into(), value.into());
    snapshot
}

pub fn without(mut snapshot: Snapshot, key: &str) -> Snapshot {
    snapshot.tags.remove(key);
    snapshot
}

pub fn in_state(mut snapshot: Snapshot, state: SnapshotState) -> Snapshot {
    snapshot.state = state;
    snapshot
}
