//! The dump inside a snapshot.

use domain::{
    drill::{Cursor, VerifyTask},
    ports::SnapshotBlocks,
};

use crate::{Stop, reader::Reader};

pub(crate) async fn read(
    _reader: &mut Reader<'_, impl SnapshotBlocks>,
    _task: &VerifyTask,
    _cursor: &mut Cursor,
    _has_time: &impl Fn() -> bool,
) -> Result<(), Stop> {
    Ok(())
}
