//! What is on the volume: partition tables and file systems, in words.

use domain::{
    disk::{
        GPT_HEADER_BYTES, Gpt, GptProblem, Kind, Layout, MAX_PARTITIONS, MbrEntry, Partition, Place, SECTOR, WINDOW,
        extended, gpt_header, gpt_partitions, mbr, recognise,
    },
    drill::{Cursor, VerifyTask},
    ports::SnapshotBlocks,
};

use crate::{reader::Reader, stop::Stop};

/// Looks for partition tables and file systems, from where an earlier message has stopped, and takes note of what is there.
pub(crate) async fn look(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    task: &VerifyTask,
    cursor: &mut Cursor,
    has_time: &impl Fn() -> bool,
) -> Result<(), Stop> {
    let volume = u64::from(task.volume_gib) << 30;
    let mut layout = match cursor.layout.take() {
        Some(layout) if layout.is_whole() => {
            cursor.layout = Some(layout);
            return Ok(());
        }
        Some(layout) => layout,
        None => tables(reader, volume).await?,
    };
    let looked = into_partitions(reader, volume, &mut layout, has_time).await;
    if looked.is_ok() {
        cursor.notes.extend(layout.notes());
    }
    cursor.layout = Some(layout);
    looked
}

/// Looks into the partitions that are still to be looked into.
async fn into_partitions(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    volume: u64,
    layout: &mut Layout,
    has_time: &impl Fn() -> bool,
) -> Result<(), Stop> {
    let mut is_first = true;
    while let Some(partition) = layout.pending.first().copied() {
        // One at least, so that slow answers make progress.
        if !is_first && !has_time() {
            return Err(Stop::Onward);
        }
        is_first = false;
        let length = partition.length.min(volume - partition.start).min(WINDOW as u64);
        #[allow(clippy::cast_possible_truncation)] // WINDOW at most.
        let window = reader.bytes(partition.start, length as usize).await?;
        layout.pending.remove(0);
        layout.places.push(Place { partition: Some(partition), found: recognise(&window) });
    }
    Ok(())
}

/// Reads the partition tables of a volume of this many bytes; of one without any, what fills it.
async fn tables(reader: &mut Reader<'_, impl SnapshotBlocks>, volume: u64) -> Result<Layout, Stop> {
    let mut layout = Layout::default();
    let window = reader.bytes(0, WINDOW).await?;
    let entries = mbr(&window[..512]);
    let whole = recognise(&window);
    let is_protective = entries.is_some_and(|entries| entries.iter().flatten().any(MbrEntry::is_protective));
    let primary = gpt_header(&window[512..1024]);
    if is_protective || primary.is_ok() {
        if !is_protective {
            layout.notes.push("its GPT has no protective MBR".into());
        }
        let partitions = gpt(reader, primary, volume, &mut layout).await?;
        layout.table = Some(format!("GPT with {}", counted(partitions.len())));
        note_partitions(partitions, volume, &mut layout);
        return Ok(layout);
    }
    // Their first sectors are signed as an MBR is, or have nothing where its entries are.
    let is_boot_sector = matches!(whole.kind, Kind::Fat | Kind::ExFat | Kind::Ntfs | Kind::Xfs | Kind::Luks);
    match entries {
        Some(entries) if !is_boot_sector => {
            let partitions = with_logical(reader, entries, volume, &mut layout).await?;
            layout.table = Some(format!("MBR with {}", counted(partitions.len())));
            note_partitions(partitions, volume, &mut layout);
        }
        _ => layout.places.push(Place { partition: None, found: whole }),
    }
    Ok(layout)
}

fn counted(partitions: usize) -> String {
    if partitions == 1 { "1 partition".into() } else { format!("{partitions} partitions") }
}

/// The partitions of the GPT at the beginning, or else of its copy at the end.
async fn gpt(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    primary: Result<Gpt, GptProblem>,
    volume: u64,
    layout: &mut Layout,
) -> Result<Vec<Partition>, Stop> {
    for (name, header) in [("GPT", Some(primary)), ("second GPT", None)] {
        let header = match header {
            Some(header) => header,
            None => gpt_header(&reader.bytes(volume.saturating_sub(SECTOR), GPT_HEADER_BYTES).await?),
        };
        let partitions = match header {
            Ok(header) => gpt_partitions(&header, &reader.bytes(header.entries_at, header.entries_bytes).await?),
            Err(problem) => Err(problem),
        };
        match partitions {
            Ok(partitions) => return Ok(partitions),
            Err(problem) => layout.notes.push(format!("its {name} {problem}")),
        }
    }
    Ok(Vec::new())
}

/// The partitions of an MBR, the logical ones included.
async fn with_logical(
    reader: &mut Reader<'_, impl SnapshotBlocks>,
    entries: [Option<MbrEntry>; 4],
    volume: u64,
    layout: &mut Layout,
) -> Result<Vec<Partition>, Stop> {
    let partition = |number, start: u64, entry: &MbrEntry| Partition {
        number,
        start: start.saturating_mul(SECTOR),
        length: entry.sectors.saturating_mul(SECTOR),
        is_for_boot: entry.kind == 0xef,
    };
    let (mut partitions, mut logical, mut links) = (Vec::new(), Vec::new(), 0);
    for (number, entry) in (1..).zip(entries) {
        let Some(entry) = entry else { continue };
        if !entry.is_extended() {
            partitions.push(partition(number, entry.start, &entry));
            continue;
        }
        let mut at = entry.start;
        // The chain may go round in a circle, and of partitions that are not used.
        while links <= MAX_PARTITIONS {
            links += 1;
            if at.saturating_mul(SECTOR) >= volume {
                layout.notes.push("its logical partitions lead out of the volume".into());
                break;
            }
            let sector = reader.bytes(at * SECTOR, SECTOR as usize).await?;
            let Some((found, next)) = extended(&sector) else { break };
            #[allow(clippy::cast_possible_truncation)] // MAX_PARTITIONS at most.
            let number = 5 + logical.len() as u32;
            logical.extend(found.map(|found| partition(number, at.saturating_add(found.start), &found)));
            match next {
                Some(next) => at = entry.start.saturating_add(next),
                None => break,
            }
        }
    }
    partitions.extend(logical);
    Ok(partitions)
}

/// Takes note of the partitions that are to be looked into.
fn note_partitions(partitions: Vec<Partition>, volume: u64, layout: &mut Layout) {
    if partitions.len() > MAX_PARTITIONS {
        layout.notes.push(format!("only the first {MAX_PARTITIONS} partitions were looked into"));
    }
    for partition in partitions.into_iter().take(MAX_PARTITIONS) {
        if partition.start.saturating_add(partition.length) > volume {
            layout.notes.push(format!("partition {} is not on the volume as a whole", partition.number));
        }
        if partition.start < volume {
            layout.pending.push(partition);
        }
    }
}
