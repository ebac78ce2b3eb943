//! Real partition tables and file systems, made by Debian's tools; without one of them its test is skipped, and says so.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use domain::drill::DumpPlace;

use super::*;

const MIB: u64 = 1 << 20;

/// A folder of its own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ebs-snapshots-verify-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// An empty disk of this size.
    fn disk(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.0.join(name);
        File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool; `None` where it is missing.
fn run(tool: &str, arguments: &[&str], input: &str) -> Option<()> {
    // They are root's tools, and not in everybody's path.
    let Some(found) = ["/usr/sbin", "/sbin", "/usr/bin"]
        .map(|folder| Path::new(folder).join(tool))
        .into_iter()
        .find(|path| path.exists())
    else {
        eprintln!("skipped: {tool} is not installed");
        return None;
    };
    let mut command = Command::new(found);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let end = process.wait_with_output().unwrap();
    assert!(end.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&end.stderr));
    Some(())
}

/// Writes a disk into another one, from a place of it on.
fn put(disk: &Path, at: u64, part: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(part)?, File::options().write(true).open(disk)?);
    to.seek(SeekFrom::Start(at))?;
    let mut chunk = vec![0; 1 << 16];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(()),
            // What is zeros stays a hole.
            count if chunk[..count].iter().all(|byte| *byte == 0) => {
                to.seek(SeekFrom::Current(i64::try_from(count).unwrap()))?;
            }
            count => to.write_all(&chunk[..count])?,
        }
    }
}

/// A scene whose snapshot is of this disk.
fn of_disk(level: Level, disk: &Path) -> Scene {
    let mut scene = Scene::new(level, []);
    scene.blocks.add_image(&home(), &scene.task.snapshot, File::open(disk).unwrap()).unwrap();
    scene.task.volume_gib = 1;
    scene
}

/// What no compression would shorten.
fn dump_of(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An ext4 file system with a dump.
fn ext4_with_dump(folder: &Folder, bytes: usize) -> Option<(PathBuf, DumpPlace)> {
    let (files, data) = (folder.0.join("files"), dump_of(bytes));
    fs::create_dir_all(files.join("d")).unwrap();
    fs::write(files.join("d/all.sql.gz"), &data).unwrap();
    let disk = folder.disk("ext4", 64 * MIB);
    run("mkfs.ext4", &["-q", "-F", "-d", files.to_str()?, disk.to_str()?], "")?;
    Some((disk, DumpPlace { path: "/d/all.sql.gz".into(), sha256: sha256(&data), max_gib: 1 }))
}

#[tokio::test]
async fn a_file_system_on_the_bare_volume_is_told() {
    let folder = Folder::new("bare");
    for (tool, arguments, mib, expected) in [
        ("mkfs.ext4", vec!["-q", "-F"], 16, "ext4, clean"),
        ("mkfs.ext4", vec!["-q", "-F", "-t", "ext3"], 16, "ext3, clean"),
        ("mkfs.ext4", vec!["-q", "-F", "-t", "ext2"], 16, "ext2, clean"),
        ("mkfs.xfs", vec!["-q"], 320, "XFS"),
        ("mkfs.vfat", vec!["-F", "32"], 64, "FAT"),
        ("mkfs.vfat", vec!["-F", "16"], 16, "FAT"),
        ("mkntfs", vec!["-q", "-F", "-Q"], 16, "NTFS"),
        ("mkswap", vec!["-q"], 16, "swap"),
        ("mkfs.btrfs", vec!["-q"], 128, "btrfs"),
    ] {
        let disk = folder.disk("disk", mib * MIB);
        let all: Vec<&str> = arguments.iter().copied().chain(disk.to_str()).collect();
        if run(tool, &all, "").is_none() {
            continue;
        }
        let verified = of_disk(Level::Probe, &disk).verified().await;
        assert_eq!((verified.found, verified.level), (vec![expected.to_owned()], Some(Level::Probe)), "{tool} {all:?}");
        assert_eq!(verified.notes, Vec::<String>::new(), "{tool}");
    }
}

#[tokio::test]
async fn what_is_in_partitions_is_told_with_their_numbers() {
    let folder = Folder::new("partitions");
    let (ext4, swap) = (folder.disk("ext4", 16 * MIB), folder.disk("swap", 8 * MIB));
    let made = run("mkfs.ext4", &["-q", "-F", ext4.to_str().unwrap()], "").is_some()
        && run("mkswap", &["-q", swap.to_str().unwrap()], "").is_some();
    // The logical ones come after the extended one.
    let mbr = "label: dos\nDISK1 : size=16M, type=83\nDISK2 : size=60M, type=5\nDISK5 : size=16M, type=83\nDISK6 : size=8M, type=82\n";
    let gpt = "label: gpt\nsize=1M, type=21686148-6449-6E6F-744E-656564454649\nsize=16M, type=L\nsize=8M, type=S\n";
    for (table, places, expected) in [
        (
            mbr,
            [(1, &ext4), (5, &ext4), (6, &swap)],
            ["MBR with 3 partitions", "partition 1: ext4, clean", "partition 5: ext4, clean", "partition 6: swap"],
        ),
        (
            gpt,
            [(1, &folder.disk("empty", MIB)), (2, &ext4), (3, &swap)],
            ["GPT with 3 partitions", "partition 1: empty", "partition 2: ext4, clean", "partition 3: swap"],
        ),
    ] {
        let disk = folder.disk("disk", 128 * MIB);
        if !made
            || run("sfdisk", &["--quiet", disk.to_str().unwrap()], &table.replace("DISK", disk.to_str().unwrap()))
                .is_none()
        {
            return;
        }
        for (number, part) in places {
            let start = start_of(&disk, number);
            put(&disk, start, part).unwrap();
        }
        let verified = of_disk(Level::Probe, &disk).verified().await;
        assert_eq!(verified.found, expected);
        assert_eq!((verified.level, verified.notes), (Some(Level::Probe), vec![]));
    }
}

/// Where sfdisk says that a partition begins.
fn start_of(disk: &Path, number: u32) -> u64 {
    let found = ["/usr/sbin/sfdisk", "/sbin/sfdisk"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    let told = Command::new(found).arg("--dump").arg(disk).output().unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    let name = format!("{}{number} :", disk.display());
    let line = text.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("{number} in {text}"));
    let start = line.split("start=").nth(1).unwrap().split(',').next().unwrap().trim();
    start.parse::<u64>().unwrap() * 512
}

#[tokio::test]
async fn a_broken_gpt_is_a_note_and_the_one_at_the_end_is_used() {
    let folder = Folder::new("gpt");
    // As large as a volume: its second table is in the last sector.
    let disk = folder.disk("disk", 1 << 30);
    if run("sfdisk", &["--quiet", disk.to_str().unwrap()], "label: gpt\nsize=16M, type=L\n").is_none() {
        return;
    }
    let mut file = File::options().write(true).open(&disk).unwrap();
    file.seek(SeekFrom::Start(512 + 56)).unwrap();
    file.write_all(&[0xff; 8]).unwrap();
    let verified = of_disk(Level::Probe, &disk).verified().await;
    assert_eq!(verified.found, ["GPT with 1 partition", "partition 1: empty"]);
    assert_eq!((verified.level, verified.notes), (Some(Level::Probe), vec!["its GPT has a wrong checksum".to_owned()]));
}

#[tokio::test]
async fn what_nobody_recognises_is_told_and_no_failure() {
    let scene = Scene::new(Level::Probe, 0..9);
    let verified = scene.verified().await;
    assert_eq!((verified.found, verified.level), (vec!["unrecognised".to_owned()], Some(Level::Probe)));
    assert_eq!(verified.notes, [UNRECOGNISED]);
}

#[tokio::test]
async fn a_dump_is_read_out_of_the_file_system_and_compared() {
    let folder = Folder::new("dump");
    let Some((disk, place)) = ext4_with_dump(&folder, 3_000_000) else { return };
    let mut scene = of_disk(Level::Dump, &disk);
    scene.task.dump = Some(place.clone());
    let verified = scene.verified().await;
    assert_eq!((verified.level, verified.notes, scene.proof()), (Some(Level::Dump), vec![], proven("dump")));

    // Stopped at any block it goes on, and its hash with it.
    let reads = scene.blocks.count("GetSnapshotBlock");
    for nth in [reads - 6, reads - 3, reads - 1] {
        let mut stopped = of_disk(Level::Dump, &disk);
        stopped.task.dump = Some(place.clone());
        (0..nth).for_each(|_| stopped.blocks.fail_next("GetSnapshotBlock", BlockFault::Spared));
        stopped.blocks.fail_next("GetSnapshotBlock", BlockFault::Refused("ThrottlingException", ""));
        let (outcome, deliveries) = stopped.to_the_end().await;
        assert!(matches!(outcome, Done(_)) && deliveries == 2, "{nth}: {outcome:?}");
        assert_eq!(stopped.record().unwrap().level, Some(Level::Dump));
    }

    let mut wrong = of_disk(Level::Dump, &disk);
    wrong.task.dump = Some(DumpPlace { sha256: "00".repeat(32), ..place.clone() });
    let failure = wrong.failure().await;
    assert_eq!((failure.name, wrong.proof()), (ErrorName::SnapshotCorrupt, proven("failed")));
    for part in ["/d/all.sql.gz", &"00".repeat(32), &place.sha256, "3000000 bytes"] {
        assert!(failure.cause.contains(part), "{part} in {failure}");
    }

    let mut missing = of_disk(Level::Dump, &disk);
    missing.task.dump = Some(DumpPlace { path: "/d/none.sql.gz".into(), ..place.clone() });
    let failure = missing.failure().await;
    assert!(failure.name == ErrorName::SnapshotCorrupt && failure.cause.contains("is missing"), "{failure}");

    let mut large = of_disk(Level::Dump, &disk);
    large.task.dump = Some(DumpPlace { max_gib: 0, ..place.clone() });
    let verified = large.verified().await;
    assert_eq!((verified.level, large.proof()), (Some(Level::Probe), proven("probe")));
    assert!(
        verified.notes[0].contains("3000000 bytes") && verified.notes[0].contains("DrillMaxDumpGiB"),
        "{verified:?}"
    );

    let mut limited = of_disk(Level::Dump, &disk);
    limited.task.dump = Some(place);
    limited.task.max_blocks = reads as u64 - 1;
    let verified = limited.verified().await;
    assert_eq!((verified.level, verified.blocks_read), (Some(Level::Probe), reads as u64 - 1));
}

#[tokio::test]
async fn a_dump_in_a_partition_is_found() {
    let folder = Folder::new("dump-partition");
    let Some((ext4, place)) = ext4_with_dump(&folder, 100_000) else { return };
    let disk = folder.disk("disk", 128 * MIB);
    if run("sfdisk", &["--quiet", disk.to_str().unwrap()], "label: gpt\nsize=1M\nsize=64M, type=L\n").is_none() {
        return;
    }
    put(&disk, start_of(&disk, 2), &ext4).unwrap();
    let mut scene = of_disk(Level::Dump, &disk);
    scene.task.dump = Some(place);
    assert_eq!(scene.verified().await.level, Some(Level::Dump));
}

#[tokio::test]
async fn a_dump_that_may_be_in_another_file_system_is_not_proven() {
    let folder = Folder::new("dump-elsewhere");
    let disk = folder.disk("disk", 320 * MIB);
    if run("mkfs.xfs", &["-q", disk.to_str().unwrap()], "").is_none() {
        return;
    }
    let mut scene = of_disk(Level::Dump, &disk);
    scene.task.dump = Some(DumpPlace { path: "/d/all.sql.gz".into(), sha256: "00".repeat(32), max_gib: 1 });
    let verified = scene.verified().await;
    assert_eq!(verified.level, Some(Level::Probe));
    assert!(verified.notes[0].contains("not proven") && verified.notes[0].contains("XFS"), "{verified:?}");
}

#[tokio::test]
async fn a_dump_proves_a_copy_whose_source_is_gone() {
    let folder = Folder::new("dump-copy");
    let Some((disk, place)) = ext4_with_dump(&folder, 100_000) else { return };
    let mut scene = of_disk(Level::Dump, &disk);
    scene.task.dump = Some(place);
    let source = scene.with_source([]);
    scene.blocks.snapshots.borrow_mut().remove(&(region("us-east-1"), source));
    let verified = scene.verified().await;
    assert_eq!(verified.level, Some(Level::Dump));
    assert!(verified.notes[0].contains("not compared with its source"), "{verified:?}");
}

#[tokio::test]
async fn of_two_file_systems_it_is_the_same_in_one_message_and_in_several() {
    let folder = Folder::new("dump-two");
    let Some((ext4, place)) = ext4_with_dump(&folder, 3_000_000) else { return };
    let (boot, disk) = (folder.disk("boot", 16 * MIB), folder.disk("disk", 128 * MIB));
    run("mkfs.ext4", &["-q", "-F", boot.to_str().unwrap()], "").unwrap();
    // The file system that has nothing comes first, and lies behind the other one.
    let script = "label: gpt\nstart=200000, size=16M, type=L\nstart=2048, size=64M, type=L\n";
    if run("sfdisk", &["--quiet", disk.to_str().unwrap()], script).is_none() {
        return;
    }
    put(&disk, start_of(&disk, 1), &boot).unwrap();
    put(&disk, start_of(&disk, 2), &ext4).unwrap();
    let of = |sha256: &str| {
        let mut scene = of_disk(Level::Dump, &disk);
        scene.task.dump = Some(DumpPlace { sha256: sha256.into(), ..place.clone() });
        scene
    };
    let whole = of(&place.sha256);
    assert_eq!(whole.verified().await.level, Some(Level::Dump));
    let reads = whole.blocks.count("GetSnapshotBlock");
    let wrong = "00".repeat(32);
    assert_eq!((of(&wrong).failure().await.name, reads > 10), (ErrorName::SnapshotCorrupt, true));
    for nth in reads - 9..reads {
        let stop = |scene: &Scene| {
            (0..nth).for_each(|_| scene.blocks.fail_next("GetSnapshotBlock", BlockFault::Spared));
            scene.blocks.fail_next("GetSnapshotBlock", BlockFault::Refused("ThrottlingException", ""));
        };
        let (right, other) = (of(&place.sha256), of(&wrong));
        stop(&right);
        stop(&other);
        assert_eq!(right.verified().await.level, Some(Level::Dump), "stopped at {nth}");
        let failure = other.failure().await;
        assert!(
            failure.name == ErrorName::SnapshotCorrupt && failure.cause.contains(&place.sha256),
            "{nth}: {failure}"
        );
        assert_eq!(other.proof(), proven("failed"));
    }
}

#[tokio::test]
async fn a_chain_of_logical_partitions_that_goes_round_in_a_circle_ends() {
    let entry = |kind: u8, start: u32| {
        let mut entry = [0; 16];
        entry[4] = kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..].copy_from_slice(&100_u32.to_le_bytes());
        entry
    };
    let sector = |entries: &[[u8; 16]]| {
        let mut sector = vec![0; 512];
        entries.iter().enumerate().for_each(|(at, entry)| sector[446 + 16 * at..462 + 16 * at].copy_from_slice(entry));
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    };
    // In the extended partition stands a link without a partition, which leads to one that leads to itself.
    let mut disk = sector(&[entry(0x05, 64)]);
    disk.resize(64 * 512, 0);
    disk.extend([sector(&[[0; 16], entry(0x05, 1)]), sector(&[[0; 16], entry(0x05, 1)])].concat());
    let scene = Scene::new(Level::Probe, []);
    scene.blocks.add(&home(), &scene.task.snapshot, [(0, disk)]);
    assert_eq!(scene.verified().await.found, ["MBR with 0 partitions"]);
}
