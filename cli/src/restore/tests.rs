#![allow(clippy::unwrap_used)]

use clap::Parser as _;
use domain::{
    fleet::InstanceAs,
    restore::{
        fake::FakeRestoring,
        performance::{Performance, VolumeType},
        plan::{Chosen, Moment, Note, PassedOver, PlannedVolume, Price},
        progress::MadeVolume,
        request::Action,
    },
};

use super::*;
use crate::{
    args::{Arguments, Command},
    fake::golden,
};

fn volume(snapshot: &str, device: &str) -> PlannedVolume {
    PlannedVolume {
        snapshot: snapshot.parse().unwrap(),
        source_volume: Some("vol-0123456789abcdef0".parse().unwrap()),
        device: Some(device.into()),
        root: false,
        performance: Performance { volume_type: VolumeType::Gp3, iops: Some(3500), throughput: Some(200) },
        recorded: true,
        gib: 100,
        full_bytes: 100 << 30,
        encrypted: true,
        snapshot_key: None,
        kms_key: None,
        delete_on_termination: true,
        initialization_rate: Some(300),
        minutes: Some(6),
        replaces: Some("vol-0fedcba9876543210".parse().unwrap()),
        tags: Default::default(),
    }
}

fn plan(action: Action, notes: Vec<Note>) -> Plan {
    Plan {
        id: "0123456789ab-0123456789ab-1".into(),
        region: "us-east-1".parse().unwrap(),
        zone: Some("us-east-1a".into()),
        chosen: Chosen {
            instance: Some("i-0123456789abcdef0".parse().unwrap()),
            name: Some("database".into()),
            run_id: Some("20261122T030000Z".into()),
            moment: Moment::One("2026-11-22T03:00:05Z".parse().unwrap()),
            from_region: Some("eu-west-1".into()),
            lacking: vec![Some("vol-0a".parse().unwrap()), None],
            launched_as: InstanceAs { instance_type: Some("m5.large".into()), ..InstanceAs::default() },
        },
        age_seconds: 32_400,
        action,
        volumes: vec![volume("snap-0123456789abcdef0", "/dev/sda1"), volume("snap-0123456789abcdef1", "/dev/sdf")],
        image: None,
        price: Price { volumes_a_month: 21.0, initialization: 0.72, as_of: "2026-11".into(), source: "a list".into() },
        minutes: Some(6),
        notes,
        goes_on: true,
        left: vec!["vol-0a".into()],
    }
}

/// An answer that shows the plan as well, as a person sees it.
#[derive(Serialize)]
struct Whole(Restored);

impl View for Whole {
    const COMMAND: &'static str = "restore";

    fn code(&self) -> Code {
        self.0.code()
    }

    fn text(&self, style: &Style) -> String {
        let plan = text::plan(self.0.plan.as_ref().unwrap(), style);
        format!("{plan}{}{}", text::problems(&self.0.problems, style), self.0.text(style))
    }
}

fn answer(outcome: Outcome, plan: Plan) -> Restored {
    Restored {
        region: plan.region.clone(),
        now: "2026-11-22T12:00:00Z".parse().unwrap(),
        outcome,
        plan: Some(plan),
        problems: Vec::new(),
        made: None,
        before: None,
        failure: None,
    }
}

#[test]
fn every_warning_and_every_obstacle_is_a_sentence_that_fits() {
    let instance = || "i-0123456789abcdef0".parse().unwrap();
    let day = "2026-11-21".parse().unwrap();
    let notes = vec![
        Note::NotOneMoment,
        Note::Lacking,
        Note::PassedOver { moment: Moment::Day(day), why: PassedOver::Incomplete },
        Note::PassedOver { moment: Moment::Day(day), why: PassedOver::KnownBad },
        Note::KnownBad { snapshot: "snap-0123456789abcdef0".parse().unwrap(), on: day },
        Note::TypeUnknown { snapshot: "snap-0123456789abcdef0".parse().unwrap() },
        Note::GoesOn { newer: None },
        Note::GoesOn { newer: Some(Moment::Day(day)) },
        Note::LeavesOther,
        Note::FirstReadIsSlow,
        Note::Staged { at_once: 16 },
        Note::Stops { instance: instance() },
        Note::AutoScaling { group: "web".into() },
        Note::Reboots { instance: instance() },
        Note::LosesBilling { known: vec!["RunInstances:0010".into()] },
        Note::ImageHoldsSnapshots,
        Note::OtherVolumeAtDevice { device: "/dev/sdf".into(), volume: "vol-0fedcba9876543210".parse().unwrap() },
        Note::Stays { device: "/dev/sdh".into(), volume: "vol-0fedcba9876543211".parse().unwrap() },
    ];
    let mut refused = answer(Outcome::Refused, plan(Action::Swap(instance()), notes));
    refused.problems = vec![
        Problem::Key { key: "arn:aws:kms:us-east-1:1:key/a".into(), state: "Disabled".into() },
        Problem::KeyNotTold { key: "arn:aws:kms:us-east-1:1:key/b".into(), answer: "AccessDeniedException: no".into() },
        Problem::Denied { action: "CreateVolume".into(), message: "You are not authorized".into() },
        Problem::Shared { volume: "vol-0fedcba9876543210".parse().unwrap(), instances: vec![instance()] },
        Problem::RootNotEncrypted,
    ];
    assert_eq!(refused.code(), Code::Owed);
    golden("restore-refused", &Whole(refused));
}

fn made() -> Made {
    let made = |volume: &str, snapshot: &str, device: &str| MadeVolume {
        volume: volume.parse().unwrap(),
        snapshot: snapshot.parse().unwrap(),
        device: Some(device.into()),
    };
    Made {
        volumes: vec![
            made("vol-0123456789abcdef1", "snap-0123456789abcdef0", "/dev/sda1"),
            made("vol-0123456789abcdef2", "snap-0123456789abcdef1", "/dev/sdf"),
        ],
        image: None,
        replaced: vec!["vol-0fedcba9876543210".parse().unwrap()],
        instance_state: None,
    }
}

#[test]
fn the_end_says_what_was_made_and_what_is_kept() {
    let mut done = answer(Outcome::Done, plan(Action::MakeVolumes, Vec::new()));
    done.made = Some(made());
    assert_eq!(done.code(), Code::Owed, "the set lacks volumes");
    golden("restore-made", &done);
    done.plan.as_mut().unwrap().chosen.lacking.clear();
    assert_eq!(done.code(), Code::Well);
}

#[test]
fn an_instance_that_is_stopped_is_told_where_it_ends_and_where_it_could_not() {
    let swap = || plan(Action::Swap("i-0123456789abcdef0".parse().unwrap()), Vec::new());
    let stopped = Made { instance_state: Some("stopped".into()), ..made() };
    let style = Style { width: None, colour: false };
    let mut done = answer(Outcome::Done, swap());
    done.made = Some(stopped.clone());
    let start = "Run next: `aws ec2 start-instances --region us-east-1 --instance-ids i-0123456789abcdef0`";
    assert!(done.text(&style).contains(start), "{}", done.text(&style));
    let mut failed = answer(Outcome::Unfinished, swap());
    (failed.made, failed.failure) = (Some(stopped), Some(Failure::new(ErrorName::Ec2Refused, "why")));
    let text = failed.text(&style);
    let now = "Made: vol-0123456789abcdef1 (for /dev/sda1), vol-0123456789abcdef2 (for /dev/sdf), for the place of \
               vol-0fedcba9876543210. i-0123456789abcdef0 is stopped now.";
    assert!(text.contains(now), "{text}");
}

#[test]
fn what_aws_did_not_answer_has_another_exit_code_than_what_it_refused() {
    let failed = |name| {
        let mut failed = answer(Outcome::Unfinished, plan(Action::MakeVolumes, Vec::new()));
        failed.failure = Some(Failure::new(name, "why"));
        assert!(failed.text(&Style { width: None, colour: false }).contains(&format!("NOT FINISHED {name}\n  why")));
        failed.code()
    };
    assert_eq!(failed(ErrorName::KeyNotAccessible), Code::Owed);
    assert_eq!(failed(ErrorName::Ec2Unavailable), Code::Aws);
}

#[tokio::test]
async fn what_is_not_there_is_a_matter_of_the_command_line() {
    let given = ["ebs-snapshots", "restore", "--snapshot", "snap-0a", "--yes"];
    let Command::Restore(asked) = Arguments::parse_from(given).command else { unreachable!("it is a restore") };
    let region = "us-east-1".parse().unwrap();
    let style = Style { width: None, colour: false };
    let shown = Shown { progress: &Progress::hidden(), style: &style, as_text: true, write: &|_| {} };
    let refused = restore(&FakeRestoring::new(&["us-east-1a"]), &region, &asked, &shown).await.unwrap_err();
    assert!(matches!(&refused, Trouble::Usage(why) if why.contains("snap-0a")), "{refused}");
}
