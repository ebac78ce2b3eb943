use super::{text::large, *};

const ALL: [NotifyOn; 3] = [NotifyOn::Failure, NotifyOn::Always, NotifyOn::Never];

fn after(complete: bool) -> Before {
    let since = Since::Report { run: "20261121T030000Z".into(), execution: "before".into(), reported: now(), complete };
    Before { since, list: None, again: false }
}

fn incomplete() -> Summary {
    let mut summary = summary();
    summary.problems.push(Problem::new(ProblemKind::Other, "no", ""));
    summary
}

/// What `failure`, `always` and `never` make of a run.
fn notices(summary: &Summary, before: &Before) -> [Option<Notice>; 3] {
    ALL.map(|on| on.notice(summary, before))
}

use Notice::{Ended, NotComplete, WellAgain};

#[test]
fn a_run_that_is_not_complete_sends_one_and_so_does_the_first_complete_one_after_it() {
    assert_eq!(notices(&incomplete(), &after(true)), [Some(NotComplete), Some(NotComplete), None]);
    assert_eq!(notices(&incomplete(), &after(false)), [Some(NotComplete), Some(NotComplete), None]);
    assert_eq!(notices(&summary(), &after(false)), [Some(WellAgain), Some(WellAgain), None]);
    assert_eq!(notices(&summary(), &after(true)), [None, Some(Ended), None]);
    for since in [Since::First, Since::Unknown { why: "no".into() }] {
        let before = Before { since, list: None, again: false };
        assert_eq!(notices(&summary(), &before), [None, Some(Ended), None]);
        assert_eq!(notices(&incomplete(), &before), [Some(NotComplete), Some(NotComplete), None]);
    }
}

#[test]
fn a_report_that_is_made_once_more_repeats_bad_news_only() {
    let again = |complete| Before { again: true, ..after(complete) };
    assert_eq!(notices(&summary(), &again(false)), [None, None, None]);
    assert_eq!(notices(&incomplete(), &again(false)), [Some(NotComplete), Some(NotComplete), None]);
}

#[test]
fn only_a_full_run_that_acted_says_that_all_is_well_again() {
    let mut part = summary();
    part.run.phases.snapshot = false;
    assert_eq!(notices(&part, &after(false)), [None, Some(Ended), None]);
    let mut dry = incomplete();
    dry.run.dry_run = true;
    assert_eq!(notices(&dry, &after(false)), [None, Some(Ended), None], "what a run would report is no failure");
    dry.problems[0].kind = ProblemKind::WholeRun;
    assert_eq!(notices(&dry, &after(false)), [Some(NotComplete), Some(NotComplete), None]);
}

#[test]
fn the_words_of_the_parameter_are_read_and_another_is_named() {
    for (word, on) in NotifyOn::ALL {
        assert_eq!(word.parse::<NotifyOn>(), Ok(on));
    }
    let problem = "Failure".parse::<NotifyOn>().unwrap_err().to_string();
    assert_eq!(problem, "NOTIFY_ON=\"Failure\": allowed is failure, always or never");
}

#[test]
fn a_message_says_what_how_many_why_what_to_run_and_where_to_look() {
    let mut summary = summary();
    summary.run.execution = "arn:aws:states:eu-west-1:111122223333:execution:prod-backup:e1".into();
    let owed = |n: usize| Problem {
        region: Some(region("us-east-1")),
        snapshot: Some(id(&format!("snap-{n}"))),
        error: Some(format!("Error{}", "x".repeat(n))),
        ..Problem::new(ProblemKind::NoCopy, "the key\nis gone", "Correct the key's policy")
    };
    summary.problems = (1..=7).map(owed).collect();
    let text = summary.message(NotComplete, &after(true));
    let expected = "The backup run 20261122T030000Z in eu-west-1 is not complete: 7 problems.

1. snap-1: owed a copy in us-east-1: Errorx: the key is gone. Correct the key's policy
";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("\n5. snap-5: ") && !text.contains("\n6. "), "{text}");
    let rest = "\nAnd 2 more in the report.

Run next:
  ebs-snapshots --region eu-west-1 --stack-name prod run --phase copy --watch

Snapshots: 0 of 0 volumes of 0 instances
Rejected: 0

Account 111122223333, started 2026-11-22 03:00 UTC, reported 2026-11-22 04:00 UTC
Execution: https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/arn:aws:states:eu-west-1:111122223333:execution:prod-backup:e1
Report: s3://reports/runs/20261122T030000Z/e1/report.html
  aws s3 cp s3://reports/runs/20261122T030000Z/e1/report.html .
As text: s3://reports/runs/20261122T030000Z/e1/summary.txt
";
    assert!(text.ends_with(rest), "{text}");
    assert_eq!(summary.subject(NotComplete), "EBS backup 20261122T030000Z in eu-west-1: INCOMPLETE, 7 problems");

    summary.problems.clear();
    let text = summary.message(WellAgain, &after(false));
    assert!(
        text.starts_with("The backup run 20261122T030000Z in eu-west-1 is complete again. The last one, 20261121T")
    );
    assert!(!text.contains("Run next"), "{text}");
    assert_eq!(summary.subject(WellAgain), "EBS backup 20261122T030000Z in eu-west-1: complete again");
}

#[test]
fn the_command_to_run_next_is_that_of_what_is_worst() {
    let with = |problems: &[(ProblemKind, &str)]| {
        let mut summary = summary();
        for (kind, error) in problems {
            let problem = Problem::new(*kind, "", "");
            summary.problems.push(Problem { error: Some((*error).to_owned()), ..problem });
        }
        summary
    };
    use ProblemKind::{Expiry, NoCopy, NoSnapshot, Unprotected, WholeRun};
    for (problems, command) in [
        (
            vec![(NoCopy, ""), (NoSnapshot, "")],
            "run --scheduled-time 20261122T030000Z --phase snapshot --phase copy --watch",
        ),
        (vec![(NoCopy, ""), (Unprotected, "")], "run --phase copy --watch"),
        (vec![(WholeRun, "AccessDenied")], "run --scheduled-time 20261122T030000Z --watch"),
        (vec![(Expiry, "MassExpire")], "plan"),
        (vec![(Unprotected, "")], "status"),
    ] {
        assert_eq!(with(&problems).next_command(), format!("ebs-snapshots --region eu-west-1 {command}"));
    }
    let mut letters = with(&[(NoCopy, "")]);
    let left = [("AccessDenied".to_owned(), 1)].into();
    letters.dead_letters = vec![DeadLettersReport { queue: WorkQueue::Copy, settled: 0, left }];
    assert_eq!(letters.next_command(), "ebs-snapshots --region eu-west-1 dlq list");
}

#[test]
fn subjects_and_messages_keep_the_limits_of_the_topic() {
    let mut summary = large(500, 500);
    for home in ["ap-southeast-2", "us-isob-east-1", "eusc-de-east-1"] {
        summary.home = region(home);
        summary.rejected = vec![Rejection::new("i", "Backup=\"x\": no"); 12_345];
        for notice in [NotComplete, WellAgain, Ended] {
            let subject = summary.subject(notice);
            assert!(subject.is_ascii() && subject.len() < 100 && !subject.contains('?'), "{subject}");
            // 256 KiB (`Publish` documentation).
            assert!(summary.message(notice, &after(false)).len() < 10_000);
        }
    }
    summary.run.id = "2026…\n".repeat(40);
    let subject = summary.subject(NotComplete);
    assert!(subject.is_ascii() && subject.len() < 100 && !subject.contains('\n'), "{subject}");
}
