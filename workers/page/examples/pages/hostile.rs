//! Reports with texts that would do harm, and with as much as there can be.

use domain::{
    coverage::State,
    expiry::Expire,
    policy::Rejection,
    report::{ChangedVolume, ExpiryReport, Named, Problem, ProblemKind, ReportedFailure, Summary},
};

use super::scenes::{HOME, copied, cover, day, incomplete, instance, kept, region, swept, volume};

/// Texts that would do harm, or look like what they are not.
pub const HOSTILE: [&str; 7] = [
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=alert(1)>",
    "</style></title><h1>owned</h1>",
    "&lt;b&gt; &amp; 'quoted' \"twice\" --> ]]>",
    "right\u{202e}tfel\u{2066}\u{200f} and more",
    "line\nbreak\u{2028}and\u{1b}[31m",
    "שלום עולם مرحبا",
];

/// A hostile text of the longest length that a tag can have.
pub fn hostile_name(number: usize) -> String {
    let text = HOSTILE[number % HOSTILE.len()];
    text.chars().cycle().take(if number < HOSTILE.len() { text.chars().count() } else { 256 }).collect()
}

/// Hostile texts in every place that can have one.
pub fn hostile() -> Summary {
    let mut summary = incomplete();
    cover(&mut summary, 24, &[HOME, "us-east-1"], hostile_name, |volume, _| match volume % 3 {
        0 => State::Missing,
        1 => State::Overdue,
        _ => State::Covered,
    });
    let bad = |number: usize| Named { id: instance(number), name: Some(hostile_name(number)) };
    for (number, problem) in summary.problems.iter_mut().enumerate() {
        problem.instances = vec![bad(number)];
        problem.reason = hostile_name(number + 1);
        problem.what_to_do = hostile_name(number + 2);
        problem.error = Some(hostile_name(number));
    }
    for (number, end) in summary.expiries.iter_mut().enumerate() {
        end.kept = (0..9).map(|n| kept(n, &format!("kept: held by {}", hostile_name(n)))).collect();
        for (at, swept) in end.deleted.iter_mut().chain(&mut end.left).enumerate() {
            swept.instances = vec![bad(at), bad(at + 1)];
            swept.reason = swept.reason.take().map(|_| hostile_name(at + number));
        }
    }
    summary.rejected = (0..14).map(|n| Rejection::new(bad(n), hostile_name(n))).collect();
    summary.notes = summary.rejected.clone();
    for (number, failure) in summary.failures.iter_mut().enumerate() {
        failure.error = hostile_name(number);
        failure.cause = hostile_name(number + 3);
        failure.tasks = (0..12).map(hostile_name).collect();
    }
    summary.unread = (0..7).map(hostile_name).collect();
    summary.dead_letters[0].left = (0..7).map(|n| (hostile_name(n), n)).collect();
    summary.gone[0].name = Some(hostile_name(9));
    summary.timeline.untold = (0..7).map(hostile_name).collect();
    if let Some(changes) = &mut summary.changes {
        changes.instances.lost = (0..14).map(bad).collect();
        changes.volumes.lost = (0..14).map(|n| ChangedVolume { id: volume(n), instances: vec![bad(n)] }).collect();
    }
    summary
}

/// A fleet of `volumes` with the longest names, most of it in trouble.
pub fn large(volumes: usize) -> Summary {
    let mut summary = incomplete();
    let regions = [HOME, "us-east-1", "eu-central-1", "ap-southeast-2"];
    cover(&mut summary, volumes, &regions, hostile_name, |volume, region| match (volume + region) % 4 {
        0 => State::Covered,
        1 => State::Missing,
        _ => State::Overdue,
    });
    let bad = |number: usize| Named { id: instance(number), name: Some(hostile_name(number + 7)) };
    let letters =
        |number: usize| number.to_string().replace(|c: char| c.is_ascii_digit(), "x") + &"y".repeat(number % 97);
    summary.problems = (0..volumes)
        .map(|number| Problem {
            instances: vec![bad(number)],
            volume: Some(volume(number)),
            error: Some(format!("Error{}", letters(number))),
            ..Problem::new(ProblemKind::NoSnapshot, hostile_name(number + 9), "Repair it")
        })
        .collect();
    summary.timeline.copies = regions[1..].iter().map(|code| copied(code, volumes, 5, 30, false)).collect();
    let why = Expire::Due(day("2026-11-20"));
    summary.expiries = regions
        .iter()
        .map(|code| ExpiryReport {
            region: region(code),
            deleted: (0..volumes).map(|number| swept(number, why, None)).collect(),
            left: (0..volumes).map(|number| swept(number, why, Some(&hostile_name(number)))).collect(),
            kept: (0..volumes).map(|number| kept(number, &format!("kept: held by {number}"))).collect(),
        })
        .collect();
    summary.rejected = (0..volumes).map(|number| Rejection::new(bad(number), hostile_name(number))).collect();
    summary.notes = summary.rejected.clone();
    let failure = |number| ReportedFailure {
        label: "Copies".into(),
        error: "Ec2Refused".into(),
        cause: format!("{} {}", letters(number), "no ".repeat(300)),
        tasks: (0..10).map(hostile_name).collect(),
    };
    summary.failures = (0..100).map(failure).collect();
    if let Some(changes) = &mut summary.changes {
        changes.instances.lost = (0..volumes / 2).map(bad).collect();
        changes.volumes.came = (0..volumes).map(|n| ChangedVolume { id: volume(n), instances: vec![bad(n)] }).collect();
    }
    summary
}
