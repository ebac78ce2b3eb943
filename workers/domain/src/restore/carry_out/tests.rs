use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use super::*;
use crate::{
    error::ErrorName,
    fleet::{Snapshot, SnapshotState},
    ids::{InstanceId, Region, SnapshotId},
    restore::{
        check::{self, Problem},
        fake::{FakeRestoring, Fault, KILLED, sources},
        look::{Prepared, prepare},
        plan::Note,
        ports::{KeyState, Stored, VolumeNow, VolumeOrder},
        request::{At, Request, Target},
    },
    tags::{self, BACKUP, REPLACED_BY, RESTORED_AT, RESTORED_FROM, tags},
};

const ZONE: &str = "eu-west-1b";
const KEY: &str = "arn:aws:kms:eu-west-1:1:key/k";
const DEVICES: [(&str, &str); 3] = [("/dev/sda1", "vol-1a"), ("/dev/sdf", "vol-2b"), ("/dev/sdg", "vol-3c")];

fn now() -> DateTime<Utc> {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

fn region() -> Region {
    "eu-west-1".parse().unwrap()
}

fn instance() -> InstanceId {
    "i-1a".parse().unwrap()
}

/// The snapshots of a set of three volumes, made on a day of November.
fn add_set(fake: &FakeRestoring, day: u32) {
    let devices = DEVICES.map(|(device, volume)| format!("{device}={volume}")).join(" ");
    for (number, (_, volume)) in DEVICES.iter().enumerate() {
        let run = format!("202611{day:02}T030000Z");
        let own = tags([
            (tags::TYPE, tags::AUTOMATED),
            (tags::NAME, "web"),
            (tags::BACKUP_RUN, &run),
            (tags::SOURCE_INSTANCE_ID, "i-1a"),
            (tags::CREATED_ON, &format!("2026-11-{day:02}")),
            (tags::DEVICES, &devices),
            (tags::VOLUMES, "vol-1a:gp3:3000:125:8:d vol-2b:io2:5000::20 vol-3c:gp2:100::30:d"),
            (tags::INSTANCE_AS, "zone=eu-west-1b arch=arm64 boot=uefi"),
        ]);
        fake.backups.borrow_mut().push(Stored {
            snapshot: Snapshot {
                id: format!("snap-{day:02}{number}").parse().unwrap(),
                volume: volume.parse().ok(),
                state: SnapshotState::Completed,
                started: format!("2026-11-{day:02}T03:00:05Z").parse().unwrap(),
                completed: None,
                description: String::new(),
                state_message: None,
                stored: Default::default(),
                full_size: Some(6 << 30),
                tags: own,
            },
            gib: [8, 20, 30][number],
            encrypted: true,
            kms_key: Some(KEY.into()),
            archived: false,
        });
    }
}

fn account() -> FakeRestoring {
    let fake = FakeRestoring::new(&["eu-west-1a", ZONE]);
    fake.keys.borrow_mut().insert(KEY.into(), KeyState::Enabled);
    add_set(&fake, 20);
    add_set(&fake, 21);
    fake
}

fn request(action: Action) -> Request {
    Request { action, ..Request::new(region(), Target::Instance(instance())) }
}

/// How a program ends.
#[derive(Debug, PartialEq)]
enum End {
    Made(Made),
    AlreadyDone,
    Failed(Failure),
}

impl End {
    fn made(self) -> Made {
        match self {
            Self::Made(made) => made,
            other => panic!("{other:?}"),
        }
    }

    fn failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// The program, from its begin to its end. Time passes where it waits.
async fn program(fake: &FakeRestoring, request: &Request, events: &mut Vec<Event>) -> End {
    let plan = match prepare(fake, request, now()).await {
        Ok(Prepared::Plan(plan)) => plan,
        Ok(Prepared::Done(_)) => return End::AlreadyDone,
        Err(failure) => return End::Failed(failure),
    };
    match check::first(fake, &plan).await {
        Ok(problems) => {
            if let Some(problem) = problems.iter().find(|problem| problem.blocks()) {
                return End::Failed(problem.failure());
            }
        }
        Err(failure) => return End::Failed(failure),
    }
    let mut memory = Memory::default();
    for _ in 0..500 {
        match step(fake, &plan, &mut memory, now(), &mut |event| events.push(event)).await {
            Ok(Step::Finished(made)) => return End::Made(made),
            Ok(Step::Next) => {}
            Ok(Step::Wait { .. }) => fake.pass(),
            Err(failure) => return End::Failed(failure),
        }
    }
    panic!("it does not end: {:?}", fake.calls.borrow().iter().rev().take(20).collect::<Vec<_>>());
}

fn now_of<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the fake does not wait"),
    }
}

fn run(fake: &FakeRestoring, request: &Request) -> End {
    now_of(program(fake, request, &mut Vec::new()))
}

/// Two programs at once: their calls alternate.
fn run_both(fake: &FakeRestoring, requests: [&Request; 2]) -> Vec<End> {
    fake.paced.set(true);
    let mut events = [Vec::new(), Vec::new()];
    let [first, second] = &mut events;
    let mut programs: Vec<Pin<Box<dyn Future<Output = End> + '_>>> =
        vec![Box::pin(program(fake, requests[0], first)), Box::pin(program(fake, requests[1], second))];
    let mut ends: Vec<Option<End>> = vec![None, None];
    for _ in 0..10_000 {
        for (program, end) in programs.iter_mut().zip(&mut ends) {
            if end.is_none()
                && let Poll::Ready(value) = program.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                *end = Some(value);
            }
        }
        if ends.iter().all(Option::is_some) {
            return ends.into_iter().flatten().collect();
        }
    }
    panic!("they do not end");
}

fn at(fake: &FakeRestoring, device: &str) -> Option<VolumeNow> {
    let instances = fake.instances.borrow();
    let own = instances[&instance()].volumes.iter().find(|a| a.device == device)?.volume.clone();
    fake.volume(own.as_str())
}

/// What every end must leave behind, whatever was done before.
fn assert_right(fake: &FakeRestoring, action: &Action, context: &str) {
    let restored = fake.restored();
    let wanted = match action {
        Action::RegisterImage => 0,
        Action::ReplaceRoot(_) => 1,
        _ => 3,
    };
    assert_eq!(restored.len(), wanted, "{context}: {restored:#?}");
    assert!(restored.iter().all(|v| v.tags.contains_key(RESTORED_AT) && !v.tags.contains_key(BACKUP)), "{context}");
    for (_, old) in DEVICES {
        assert!(fake.volume(old).is_some() || fake.instances.borrow().is_empty(), "{context}: {old} is gone");
    }
    assert_eq!(fake.backups.borrow().len() % 3, 0, "{context}: a snapshot is gone");
    match action {
        Action::MakeVolumes => assert!(restored.iter().all(|v| v.attached.is_empty()), "{context}"),
        Action::Attach(_) | Action::Swap(_) => {
            for ((device, old), goes) in DEVICES.iter().zip([true, false, true]) {
                let own = at(fake, device).unwrap_or_else(|| panic!("{context}: nothing at {device}"));
                let from = own.snapshot.unwrap_or_else(|| panic!("{context}: {device} has the old volume"));
                assert_eq!(from, fake.restored().iter().find(|v| v.id == own.id).unwrap().snapshot.clone().unwrap());
                assert_eq!(own.attached[0].delete_on_termination, goes, "{context}: {device}");
                if matches!(action, Action::Swap(_)) {
                    let old = fake.volume(old).unwrap();
                    assert_eq!(old.tags.get(BACKUP).map(String::as_str), Some("Hold"), "{context}");
                    assert!(old.tags.contains_key(REPLACED_BY) && old.attached.is_empty(), "{context}");
                }
            }
        }
        Action::ReplaceRoot(_) => {
            assert!(at(fake, "/dev/sda1").unwrap().tags.contains_key(RESTORE_PLAN), "{context}");
            let old = fake.volume("vol-1a").unwrap();
            assert_eq!(old.tags.get(BACKUP).map(String::as_str), Some("Hold"), "{context}");
        }
        Action::RegisterImage => {
            let images = fake.images.borrow();
            assert_eq!(images.len(), 1, "{context}: {images:?}");
            assert!(images[0].tags.contains_key(RESTORED_AT), "{context}");
        }
    }
    if let Some(own) = fake.instances.borrow().get(&instance()) {
        assert_eq!(own.state, "running", "{context}");
    }
}

/// The account in which an action can be done.
fn account_for(action: &Action) -> FakeRestoring {
    let fake = account();
    match action {
        Action::Attach(_) => fake.add_instance("i-1a", ZONE, "running", &[("/dev/xvda", "vol-9f")]),
        Action::Swap(_) | Action::ReplaceRoot(_) => fake.add_instance("i-1a", ZONE, "running", &DEVICES),
        Action::MakeVolumes | Action::RegisterImage => {}
    }
    if let Action::Attach(_) = action {
        // The volumes that were lost are elsewhere, and stay.
        fake.add_instance("i-2b", ZONE, "running", &DEVICES);
    }
    fake
}

fn actions() -> [Action; 5] {
    [
        Action::MakeVolumes,
        Action::Attach(instance()),
        Action::Swap(instance()),
        Action::ReplaceRoot(instance()),
        Action::RegisterImage,
    ]
}

#[test]
fn each_action_makes_what_was_asked_for_and_ends() {
    for action in actions() {
        let fake = account_for(&action);
        let made = run(&fake, &request(action.clone())).made();
        assert_right(&fake, &action, &format!("{action:?}"));
        assert_eq!(made.image.is_some(), action == Action::RegisterImage);
        assert_eq!(
            made.replaced.len(),
            match action {
                Action::Swap(_) => 3,
                Action::ReplaceRoot(_) => 1,
                _ => 0,
            }
        );
    }
}

#[test]
fn killed_at_each_call_in_turn_it_ends_right_when_run_again() {
    for action in actions() {
        for (lag, carried_out) in [(0, false), (0, true), (2, true)] {
            let calls = (1..400).find(|call| survives(&action, *call, lag, carried_out));
            assert!(calls.is_some_and(|calls| calls > 5), "{action:?} was never, or always, at its end");
        }
    }
}

/// Kills the program at a call and runs it again; whether it had ended before that call.
fn survives(action: &Action, call: usize, lag: u32, carried_out: bool) -> bool {
    let context = format!("{action:?}, killed at call {call}, carried out: {carried_out}, lag {lag}");
    let fake = account_for(action);
    fake.lag.set(lag);
    fake.kill_at(call, carried_out);
    let first = run(&fake, &request(action.clone()));
    fake.spare();
    if let End::Made(_) = first {
        return true;
    }
    assert!(first.failure().cause.contains(KILLED), "{context}");
    let marked = |tags: &Tags| tags.contains_key(RESTORED_AT);
    let finished =
        fake.restored().iter().any(|v| marked(&v.tags)) || fake.images.borrow().iter().any(|i| marked(&i.tags));
    let begun = !fake.restored().is_empty() || !fake.images.borrow().is_empty();
    if finished {
        assert_eq!(run(&fake, &request(action.clone())), End::AlreadyDone, "{context}");
    } else {
        // The newest set moves between two tries: what was begun goes on with the set that it was begun with.
        // Where EC2 does not describe yet what was begun, the set must be the same to be found.
        if lag == 0 {
            add_set(&fake, 22);
        }
        let made = run(&fake, &request(action.clone())).made();
        let of_newer = made.volumes.iter().filter(|volume| volume.snapshot.as_str().starts_with("snap-22")).count();
        match begun {
            true => assert_eq!(of_newer, 0, "{context}"),
            false => assert!(of_newer == 0 || of_newer == made.volumes.len(), "{context}: a mixture"),
        }
    }
    assert_right(&fake, action, &context);
    false
}

/// The calls that change something.
const CHANGES: [&str; 9] = [
    "CreateVolume",
    "CreateTags",
    "AttachVolume",
    "DetachVolume",
    "StopInstances",
    "StartInstances",
    "ModifyInstanceAttribute",
    "CreateReplaceRootVolumeTask",
    "RegisterImage",
];

#[test]
fn an_answer_that_is_lost_makes_nothing_twice() {
    for action in actions() {
        for call in CHANGES.into_iter().chain(["DescribeVolumes"]) {
            for lag in [0, 2] {
                let fake = account_for(&action);
                fake.lag.set(lag);
                fake.fail_next(call, Fault::AnswerLost);
                fake.fail_next(call, Fault::AnswerLost);
                if call == "DescribeVolumes" {
                    // The first looks are the plan's, which is made again by hand.
                    run(&fake, &request(action.clone()));
                    run(&fake, &request(action.clone()));
                }
                run(&fake, &request(action.clone()));
                assert_right(&fake, &action, &format!("{action:?}, {call}, lag {lag}"));
            }
        }
    }
}

#[test]
fn throttled_at_every_call_it_only_takes_longer() {
    for action in actions() {
        let fake = account_for(&action);
        for call in CHANGES {
            for _ in 0..40 {
                fake.fail_next(call, Fault::Refused("RequestLimitExceeded", "Request limit exceeded."));
            }
        }
        run(&fake, &request(action.clone())).made();
        assert_right(&fake, &action, &format!("{action:?}"));
    }
}

#[test]
fn two_programs_at_once_make_one_restore() {
    for action in actions() {
        for lag in [0, 3] {
            let fake = account_for(&action);
            fake.lag.set(lag);
            let wanted = request(action.clone());
            for end in run_both(&fake, [&wanted, &wanted]) {
                end.made();
            }
            assert_right(&fake, &action, &format!("{action:?}, lag {lag}"));
        }
    }
}

#[test]
fn a_volume_that_vanishes_names_its_key_and_what_is_needed_of_it() {
    let fake = account();
    fake.revoked.borrow_mut().insert(KEY.into());
    let failure = run(&fake, &request(Action::MakeVolumes)).failure();
    assert_eq!(failure.name, ErrorName::KeyNotAccessible);
    for part in [KEY, "kms:CreateGrant", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*", "kms:DescribeKey"] {
        assert!(failure.cause.contains(part), "{failure}");
    }
    // EC2 makes nothing with the token of a volume that is gone: the next try takes another one.
    fake.revoked.borrow_mut().clear();
    run(&fake, &request(Action::MakeVolumes)).made();
    assert_right(&fake, &Action::MakeVolumes, "with the key");
}

#[test]
fn a_volume_that_vanishes_names_the_key_of_its_snapshot_beside_the_one_that_was_asked_for() {
    const OTHER: &str = "arn:aws:kms:eu-west-1:1:key/other";
    for (asked, others) in [(OTHER, 1), (KEY, 0)] {
        let fake = account();
        fake.keys.borrow_mut().insert(OTHER.into(), KeyState::Enabled);
        fake.revoked.borrow_mut().insert(asked.into());
        let wanted = Request { kms_key: Some(asked.into()), ..request(Action::MakeVolumes) };
        let failure = run(&fake, &wanted).failure();
        assert_eq!(failure.name, ErrorName::KeyNotAccessible);
        assert_eq!((failure.cause.matches(KEY).count(), failure.cause.matches(OTHER).count()), (1, others));
        assert!(failure.cause.contains("or somebody has deleted the volume"), "{failure}");
    }
}

#[test]
fn a_volume_in_error_is_no_volume_and_its_token_is_used_up() {
    let fake = account();
    fake.kill_at(10, true);
    run(&fake, &request(Action::MakeVolumes)).failure();
    fake.spare();
    let broken = fake.restored()[0].id.clone();
    fake.volumes.borrow_mut()[0].state = VolumeState::Error;
    run(&fake, &request(Action::MakeVolumes)).made();
    let good: Vec<_> = fake.restored().into_iter().filter(|volume| volume.id != broken).collect();
    assert_eq!(good.len(), 3);
    assert!(good.iter().all(|volume| volume.state == VolumeState::Available));
}

#[test]
fn a_key_that_cannot_be_used_is_told_before_anything_is_made() {
    for (state, word) in
        [(KeyState::Unusable("PendingDeletion".into()), "PendingDeletion"), (KeyState::NotFound, "not in")]
    {
        let fake = account();
        fake.keys.borrow_mut().insert(KEY.into(), state);
        let failure = run(&fake, &request(Action::MakeVolumes)).failure();
        assert_eq!(failure.name, ErrorName::KeyNotAccessible);
        assert!(failure.cause.contains(KEY) && failure.cause.contains(word), "{failure}");
        assert!(fake.changes.borrow().is_empty());
    }
    let fake = account();
    fake.keys.borrow_mut().insert(KEY.into(), KeyState::NotTold("kms:DescribeKey".into()));
    run(&fake, &request(Action::MakeVolumes)).made();
}

#[test]
fn a_permission_that_is_missing_is_told_before_the_instance_is_stopped() {
    for (action, call) in [
        ("StopInstances", 0),
        ("StartInstances", 0),
        ("DetachVolume", 0),
        ("ModifyInstanceAttribute", 0),
        ("AttachVolume", 3),
    ] {
        let fake = account_for(&Action::Swap(instance()));
        fake.denied.borrow_mut().insert(action);
        let failure = run(&fake, &request(Action::Swap(instance()))).failure();
        assert_eq!(failure.name, ErrorName::AccessDenied, "{failure}");
        assert!(failure.cause.contains(action), "{failure}");
        assert_eq!(fake.restored().len(), call, "{action}");
        assert_eq!(fake.instances.borrow()[&instance()].state, "running", "{action}");
        assert!(at(&fake, "/dev/sdf").is_some_and(|volume| volume.id.as_str() == "vol-2b"), "{action}");
        // With the permission, it goes on.
        fake.denied.borrow_mut().clear();
        run(&fake, &request(Action::Swap(instance()))).made();
        assert_right(&fake, &Action::Swap(instance()), action);
    }
}

#[test]
fn an_instance_runs_again_though_its_volumes_may_not_be_set_to_go_with_it() {
    let fake = account_for(&Action::Swap(instance()));
    fake.fail_next("ModifyInstanceAttribute", Fault::Refused("UnauthorizedOperation", "You are not authorized"));
    run(&fake, &request(Action::Swap(instance()))).failure();
    assert_eq!(fake.instances.borrow()[&instance()].state, "running");
    run(&fake, &request(Action::Swap(instance()))).made();
    assert_right(&fake, &Action::Swap(instance()), "with the permission");
}

#[test]
fn a_set_that_was_restored_is_restored_once_more_only_where_that_is_said() {
    let fake = account();
    let wanted = request(Action::MakeVolumes);
    run(&fake, &wanted).made();
    assert_eq!(run(&fake, &wanted), End::AlreadyDone);
    let again = Request { again: true, ..wanted.clone() };
    // Killed in its midst and run again, with the word or without, it is still the second one.
    fake.kill_at(14, true);
    run(&fake, &again).failure();
    fake.spare();
    run(&fake, &wanted).made();
    assert_eq!(fake.restored().len(), 6);
    assert_eq!(run(&fake, &wanted), End::AlreadyDone);
    // A newer set is another restore.
    add_set(&fake, 22);
    let made = run(&fake, &wanted).made();
    assert!(made.volumes.iter().all(|volume| volume.snapshot.as_str().starts_with("snap-22")));
    assert_eq!(fake.restored().len(), 9);
}

#[test]
fn two_programs_that_restore_once_more_make_one_more() {
    let fake = account();
    let wanted = request(Action::MakeVolumes);
    run(&fake, &wanted).made();
    let again = Request { again: true, ..wanted };
    run_both(&fake, [&again, &again]);
    assert_eq!(fake.restored().len(), 6);
}

#[test]
fn volumes_that_somebody_has_deleted_are_made_anew() {
    let fake = account();
    let wanted = request(Action::MakeVolumes);
    run(&fake, &wanted).made();
    for volume in fake.restored() {
        fake.lose(&volume.id);
    }
    run(&fake, &wanted).made();
    assert_right(&fake, &Action::MakeVolumes, "once more");
}

#[test]
fn a_restore_of_which_one_volume_was_deleted_is_not_done() {
    let fake = account();
    let wanted = request(Action::MakeVolumes);
    run(&fake, &wanted).made();
    let gone = fake.restored()[1].clone();
    fake.lose(&gone.id);
    let failure = run(&fake, &wanted).failure();
    let snapshot = gone.snapshot.unwrap();
    assert_eq!(failure.name, ErrorName::VolumeNotFound);
    assert!(failure.cause.contains(snapshot.as_str()) && failure.cause.contains("--again"), "{failure}");
    assert!(fake.restored().iter().all(|left| failure.cause.contains(left.id.as_str())), "{failure}");
    assert_eq!(fake.restored().len(), 2, "nothing is made unasked");
    let again = Request { again: true, ..wanted };
    assert_eq!(run(&fake, &again).made().volumes.len(), 3);
    assert_eq!(fake.restored().len(), 5);
    assert_eq!(run(&fake, &request(Action::MakeVolumes)), End::AlreadyDone);
}

/// Ends a restore after it has made its first volume; answers its plan.
fn interrupted(fake: &FakeRestoring, wanted: &Request) -> String {
    fake.kill_at(10, true);
    run(fake, wanted).failure();
    fake.spare();
    let is_open = |volume: &VolumeNow| !volume.tags.contains_key(RESTORED_AT);
    fake.restored().into_iter().find(is_open).unwrap().tags[RESTORE_PLAN].clone()
}

#[test]
fn an_unfinished_restore_is_left_where_that_is_said() {
    let fake = account();
    let wanted = request(Action::MakeVolumes);
    let left = interrupted(&fake, &wanted);
    let other = Request { instead_of: Some(left.clone()), ..wanted };
    run(&fake, &other).made();
    let (old, new): (Vec<_>, Vec<_>) =
        fake.restored().into_iter().partition(|volume| volume.tags[RESTORE_PLAN] == left);
    assert_eq!((old.len(), new.len()), (1, 3));
    assert_eq!(old[0].tags[RESTORED_AT], format!("left for {}", new[0].tags[RESTORE_PLAN]));
    // It is not gone on with, neither with the same words nor without them.
    for over in [request(Action::MakeVolumes), other] {
        assert_eq!(run(&fake, &over), End::AlreadyDone);
    }
    assert_eq!(fake.restored().len(), 4);
}

#[test]
fn a_plan_that_is_not_of_the_request_or_not_there_is_not_given_up() {
    let fake = account();
    let left = interrupted(&fake, &request(Action::MakeVolumes));
    let instead = |plan: &str, wanted: Request| Request { instead_of: Some(plan.into()), ..wanted };
    let of_another = Request::new(region(), Target::Volume("vol-1a".parse().unwrap()));
    let calls = fake.restored().len();
    for (wanted, words) in [
        (instead(&left, of_another), "no plan of this request"),
        (instead(&left.replace("-1", "-7"), request(Action::MakeVolumes)), left.as_str()),
    ] {
        let failure = run(&fake, &wanted).failure();
        assert_eq!(failure.name, ErrorName::InvalidInput);
        assert!(failure.cause.contains(words), "{failure}");
    }
    assert_eq!(fake.restored().len(), calls);
    assert!(fake.restored().iter().all(|volume| !volume.tags.contains_key(RESTORED_AT)));
}

#[test]
fn a_swap_that_has_begun_is_run_to_its_end_before_another_one_takes_its_place() {
    let action = Action::Swap(instance());
    let mut refused = 0;
    for call in 1..60 {
        let fake = account_for(&action);
        fake.kill_at(call, true);
        run(&fake, &request(action.clone()));
        fake.spare();
        let Some(left) = fake.restored().first().map(|volume| volume.tags[RESTORE_PLAN].clone()) else { continue };
        let other = Request { instead_of: Some(left), ..request(action.clone()) };
        match run(&fake, &other) {
            End::Failed(failure) if failure.cause.contains("without --instead-of") => {
                refused += 1;
                run(&fake, &request(action.clone())).made();
            }
            End::Made(_) | End::AlreadyDone => {}
            other => panic!("killed at call {call}: {other:?}"),
        }
        assert_eq!(fake.instances.borrow()[&instance()].state, "running", "killed at call {call}");
        for (_, old) in DEVICES {
            let old = fake.volume(old).unwrap();
            assert_eq!(old.tags.get(BACKUP).map(String::as_str), Some("Hold"), "killed at call {call}: {old:?}");
        }
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn what_was_restored_before_is_restored_instead_of_another_only_once_more() {
    let fake = account();
    let again = Request { again: true, ..request(Action::MakeVolumes) };
    run(&fake, &request(Action::MakeVolumes)).made();
    let left = interrupted(&fake, &again);
    let instead = |wanted: Request| Request { instead_of: Some(left.clone()), ..wanted };
    let failure = run(&fake, &instead(request(Action::MakeVolumes))).failure();
    assert!(failure.cause.contains("--again"), "{failure}");
    run(&fake, &instead(again)).made();
    assert!(fake.restored().iter().all(|volume| volume.tags.contains_key(RESTORED_AT)));
}

#[test]
fn what_a_set_lacked_at_the_begin_is_told_at_the_end_too() {
    let fake = account();
    let pending = |state| {
        let mut backups = fake.backups.borrow_mut();
        backups.iter_mut().find(|stored| stored.snapshot.id.as_str() == "snap-212").unwrap().snapshot.state = state;
    };
    pending(SnapshotState::Pending);
    let wanted = Request { at: At::Run("20261121T030000Z".into()), ..request(Action::MakeVolumes) };
    interrupted(&fake, &wanted);
    pending(SnapshotState::Completed);
    let Prepared::Plan(plan) = now_of(prepare(&fake, &wanted, now())).unwrap() else { panic!("done") };
    assert_eq!(plan.chosen.lacking, [Some("vol-3c".parse().unwrap())]);
    assert!(plan.goes_on && plan.notes.contains(&Note::Lacking), "{:?}", plan.notes);
}

#[test]
fn a_restore_that_is_made_instead_of_another_is_so_however_it_is_killed() {
    for (call, carried_out) in (1..40).flat_map(|call| [(call, false), (call, true)]) {
        let fake = account();
        let wanted = request(Action::MakeVolumes);
        let left = interrupted(&fake, &wanted);
        let other = Request { instead_of: Some(left.clone()), ..wanted.clone() };
        fake.kill_at(call, carried_out);
        run(&fake, &other);
        fake.spare();
        run(&fake, &other);
        assert_eq!(run(&fake, &wanted), End::AlreadyDone, "killed at call {call}");
        let of_left = |volume: &VolumeNow| volume.tags[RESTORE_PLAN] == left;
        assert_eq!(fake.restored().iter().filter(|volume| !of_left(volume)).count(), 3, "killed at call {call}");
    }
}

#[test]
fn an_unfinished_restore_whose_snapshots_are_gone_says_so() {
    let fake = account();
    interrupted(&fake, &request(Action::MakeVolumes));
    fake.backups.borrow_mut().retain(|stored| stored.snapshot.id.as_str() != "snap-212");
    let failure = run(&fake, &request(Action::MakeVolumes)).failure();
    assert_eq!(failure.name, ErrorName::SnapshotNotFound);
    assert!(failure.cause.contains("snap-212 is gone") && failure.cause.contains("vol-"), "{failure}");
}

#[test]
fn an_unfinished_restore_says_that_it_goes_on_and_what_is_newer() {
    let fake = account();
    fake.kill_at(10, true);
    run(&fake, &request(Action::MakeVolumes)).failure();
    fake.spare();
    add_set(&fake, 22);
    let Ok(Prepared::Plan(plan)) = now_of(prepare(&fake, &request(Action::MakeVolumes), now())) else {
        panic!("a plan")
    };
    assert!(plan.goes_on);
    let newer = plan.notes.iter().find_map(|note| match note {
        Note::GoesOn { newer } => newer.clone(),
        _ => None,
    });
    assert_eq!(newer.map(|moment| moment.day().to_string()).as_deref(), Some("2026-11-22"));
}

#[test]
fn an_instance_that_stops_again_is_started_once_and_told_with_what_ec2_says() {
    let fake = account_for(&Action::Swap(instance()));
    fake.stops_again.set(true);
    let failure = run(&fake, &request(Action::Swap(instance()))).failure();
    assert!(
        failure.name == ErrorName::KeyNotAccessible && failure.cause.contains("Client error on launch"),
        "{failure}"
    );
    assert_eq!(fake.count("StartInstances"), 1);
    fake.stops_again.set(false);
    run(&fake, &request(Action::Swap(instance()))).made();
    assert_right(&fake, &Action::Swap(instance()), "its key may be used again");
}

#[test]
fn a_volume_that_vanishes_while_ec2_is_asked_how_far_it_is_initialised_is_told_with_its_key() {
    let fake = account();
    fake.revoked.borrow_mut().insert(KEY.into());
    for _ in 0..9 {
        fake.fail_next("DescribeVolumeStatus", Fault::Refused("InvalidVolume.NotFound", "The volume does not exist"));
    }
    let wanted = Request { fast: Some(300), kms_key: Some(KEY.into()), ..request(Action::MakeVolumes) };
    let failure = run(&fake, &wanted).failure();
    assert!(failure.name == ErrorName::KeyNotAccessible && failure.cause.contains(KEY), "{failure}");
}

#[test]
fn an_instance_that_was_stopped_stays_so() {
    let fake = account();
    fake.add_instance("i-1a", ZONE, "stopped", &DEVICES);
    let made = run(&fake, &request(Action::Swap(instance()))).made();
    assert_eq!(fake.instances.borrow()[&instance()].state, "stopped");
    assert_eq!(made.instance_state.as_deref(), Some("stopped"), "who waits for it is told");
    assert_eq!((fake.count("StartInstances"), fake.count("StopInstances")), (0, 0));
}

#[test]
fn a_volume_that_is_still_in_use_is_not_held() {
    let denied = || Fault::Refused("OperationNotPermitted", "It may not be.");
    for (action, call) in [
        (Action::Swap(instance()), "StopInstances"),
        (Action::Swap(instance()), "DetachVolume"),
        (Action::ReplaceRoot(instance()), "CreateReplaceRootVolumeTask"),
    ] {
        let fake = account_for(&action);
        fake.fail_next(call, denied());
        let failure = run(&fake, &request(action.clone())).failure();
        assert!(failure.cause.contains("OperationNotPermitted"), "{call}: {failure}");
        for (_, old) in DEVICES {
            let old = fake.volume(old).unwrap();
            assert!(!old.tags.contains_key(BACKUP) && !old.attached.is_empty(), "{call}: it is backed up as before");
        }
        // Run again, what has lost its place is held.
        let made = run(&fake, &request(action)).made();
        let held = |id: &VolumeId| fake.volume(id.as_str()).unwrap().tags.get(BACKUP) == Some(&"Hold".to_owned());
        assert!(!made.replaced.is_empty() && made.replaced.iter().all(held), "{call}");
    }
}

#[test]
fn a_volume_that_other_instances_have_too_is_not_replaced() {
    let action = Action::Swap(instance());
    let fake = account_for(&action);
    fake.share("vol-2b", "i-2b");
    let Prepared::Plan(plan) = now_of(prepare(&fake, &request(action), now())).unwrap() else { panic!("done") };
    let problems = now_of(check::first(&fake, &plan)).unwrap();
    let shared = Problem::Shared { volume: "vol-2b".parse().unwrap(), instances: vec!["i-2b".parse().unwrap()] };
    assert_eq!(problems, [shared]);
    assert!(problems[0].blocks());
}

#[test]
fn an_instance_on_an_outpost_is_refused_before_anything_is_made() {
    for action in [Action::Swap(instance()), Action::Attach(instance()), Action::ReplaceRoot(instance())] {
        let fake = account_for(&action);
        fake.instances.borrow_mut().get_mut(&instance()).unwrap().on_outpost = true;
        let failure = run(&fake, &request(action)).failure();
        assert!(failure.cause.contains("Outpost"), "{failure}");
        assert_eq!(fake.count("CreateVolume"), 0);
    }
}

#[test]
fn a_root_volume_goes_to_the_root_device_of_the_instance_and_others_to_theirs_however_they_are_called() {
    let fake = account();
    let devices = [("/dev/xvda", "vol-1a"), ("xvdf", "vol-2b"), ("/dev/xvdg", "vol-3c")];
    fake.add_instance("i-1a", ZONE, "running", &devices);
    let made = run(&fake, &request(Action::Swap(instance()))).made();
    assert_eq!((made.volumes.len(), made.replaced.len()), (3, 3));
    assert!(at(&fake, "/dev/xvda").is_some_and(|v| v.snapshot.is_some_and(|s| s.as_str() == "snap-210")));
    assert!(devices.iter().all(|(_, old)| fake.volume(old).is_some_and(|old| old.attached.is_empty())));
    assert_eq!(fake.instances.borrow()[&instance()].volumes.len(), 3);
    assert_eq!(run(&fake, &request(Action::Swap(instance()))), End::AlreadyDone);
}

#[test]
fn a_device_that_is_taken_under_its_other_name_is_taken() {
    let fake = account();
    fake.add_instance("i-1a", ZONE, "running", &[("/dev/xvda", "vol-9f"), ("/dev/xvdf", "vol-77")]);
    let failure = run(&fake, &request(Action::Attach(instance()))).failure();
    assert!(failure.cause.contains("taken by vol-77"), "{failure}");
    assert!(fake.changes.borrow().is_empty());
}

#[test]
fn a_volume_that_is_not_of_the_plan_is_never_detached() {
    let fake = account_for(&Action::Swap(instance()));
    let Ok(Prepared::Plan(plan)) = now_of(prepare(&fake, &request(Action::Swap(instance())), now())) else {
        panic!("a plan")
    };
    let mut memory = Memory::default();
    let mut failure = None;
    for _ in 0..100 {
        if fake.instances.borrow()[&instance()].state == "stopped" {
            // Somebody puts another volume there meanwhile.
            let mut instances = fake.instances.borrow_mut();
            let own = instances.get_mut(&instance()).unwrap();
            own.volumes.iter_mut().find(|a| a.device == "/dev/sdf").unwrap().volume = "vol-77".parse().unwrap();
        }
        match now_of(step(&fake, &plan, &mut memory, now(), &mut |_| ())) {
            Ok(Step::Wait { .. }) => fake.pass(),
            Ok(_) => {}
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let failure = failure.expect("it is refused");
    assert!(failure.cause.contains("/dev/sdf") && failure.cause.contains("vol-77"), "{failure}");
    assert_eq!(fake.count("DetachVolume"), 0);
}

#[test]
fn volumes_at_a_rate_of_their_own_are_made_as_the_region_allows_and_waited_for() {
    let fake = account();
    fake.rate_of_region.set(600);
    let mut events = Vec::new();
    let wanted = Request { fast: Some(300), ..request(Action::MakeVolumes) };
    now_of(program(&fake, &wanted, &mut events)).made();
    assert_right(&fake, &Action::MakeVolumes, "at 300 MiB/s");
    let order = |change: &Change| match change {
        Change::CreateVolume(order) => order.initialization_rate,
        _ => None,
    };
    assert_eq!(fake.changes.borrow().iter().find_map(order), Some(300));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Created { .. })).count(), 3);
}

#[test]
fn a_root_volume_that_could_not_be_replaced_is_told_and_tried_again() {
    let fake = account_for(&Action::ReplaceRoot(instance()));
    fake.tasks_fail.set(true);
    let failure = run(&fake, &request(Action::ReplaceRoot(instance()))).failure();
    assert!(failure.cause.contains("is failed") && failure.cause.contains("i-1a"), "{failure}");
    fake.tasks_fail.set(false);
    run(&fake, &request(Action::ReplaceRoot(instance()))).made();
    assert_right(&fake, &Action::ReplaceRoot(instance()), "tried again");
    assert_eq!(fake.tasks.borrow().len(), 2);
}

#[test]
fn an_instance_with_as_many_volumes_as_it_may_have_is_told() {
    let fake = account_for(&Action::Attach(instance()));
    fake.fail_next("AttachVolume", Fault::Refused("AttachmentLimitExceeded", "no more"));
    let failure = run(&fake, &request(Action::Attach(instance()))).failure();
    assert!(failure.cause.contains("AttachmentLimitExceeded") && failure.cause.contains("detach one"), "{failure}");
    run(&fake, &request(Action::Attach(instance()))).made();
    assert_right(&fake, &Action::Attach(instance()), "with room");
}

#[test]
fn the_volumes_are_as_they_were_and_say_where_they_are_from() {
    let fake = account();
    let wanted = Request { at: At::Day("2026-11-20".parse().unwrap()), ..request(Action::MakeVolumes) };
    run(&fake, &wanted).made();
    let ids: Vec<String> = sources(&fake.restored()).iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["snap-200", "snap-201", "snap-202"]);
    let orders: Vec<VolumeOrder> = fake
        .changes
        .borrow()
        .iter()
        .filter_map(|change| match change {
            Change::CreateVolume(order) => Some(order.clone()),
            _ => None,
        })
        .collect();
    let types: Vec<_> = orders
        .iter()
        .map(|o| (o.performance.volume_type.as_str(), o.performance.iops, o.performance.throughput, o.gib))
        .collect();
    assert_eq!(types, [("gp3", Some(3000), Some(125), 8), ("io2", Some(5000), None, 20), ("gp2", None, None, 30)]);
    assert!(orders.iter().all(|order| order.zone == ZONE), "where it was");
    for volume in fake.restored() {
        assert_eq!(
            volume.tags.get(RESTORED_FROM).map(String::as_str),
            volume.snapshot.as_ref().map(SnapshotId::as_str)
        );
        assert_eq!(volume.tags.get(RESTORED_AT).map(String::as_str), Some("2026-11-28T12:00:00Z"));
        assert_eq!(volume.tags.get(tags::NAME).map(String::as_str), Some("web"));
    }
}
