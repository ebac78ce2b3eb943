use crate::{
    fleet::{Snapshot, SnapshotState},
    ids::Region,
};

/// A region of this code.
pub fn region(code: &str) -> Region {
    code.parse().unwrap_or_else(|problem| panic!("{problem}"))
}

/// The home region of the tests.
pub fn home() -> Region {
    region("eu-west-1")
}

/// The snapshot with one more tag.
pub fn with(mut snapshot: Snapshot, key: &str, value: &str) -> Snapshot {
    snapshot.tags.insert(key.into(), value.into());
    snapshot
}

/// The snapshot without this tag.
pub fn without(mut snapshot: Snapshot, key: &str) -> Snapshot {
    snapshot.tags.remove(key);
    snapshot
}

/// The snapshot in this state.
pub fn in_state(mut snapshot: Snapshot, state: SnapshotState) -> Snapshot {
    snapshot.state = state;
    snapshot
}
