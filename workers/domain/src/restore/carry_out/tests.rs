use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use super::*;
use crate::{
    fleet::{Snapshot, SnapshotState},
    ids::Region,
    restore::{
        check,
        fake::{FakeRestoring, Fault, KILLED, sources},
        look::{Prepared, prepare},
        plan::Note,
        ports::{KeyState, Stored},
        request::{At, Request, Target},
    },
    tags::{self, tags},
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
            if end.is_none() {
                if let Poll::Ready(value) = program.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    *end = Some(value);
                }
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
        for lag in [0, 2] {
            for carried_out in [false, true] {
                let mut survived = false;
                for at in 1..400 {
                    let context = format!("{action:?}, killed at call {at}, carried out: {carried_out}, lag {lag}");
                    let fake = account_for(&action);
                    fake.lag.set(lag);
                    fake.kill_at(at, carried_out);
                    let first = run(&fake, &request(action.clone()));
                    fake.spare();
                    if let End::Made(_) = first {
                        survived = true;
                        break;
                    }
                    assert!(first.failure().cause.contains(KILLED), "{context}");
                    // The newest set moves between two tries.
                    add_set(&fake, 22);
                    let again = run(&fake, &request(action.clone()));
                    if again == End::AlreadyDone {
                        // Killed after the mark: all was done. The newer set is another restore.
                        panic!("{context}: a newer set exists");
                    }
                    let made = again.made();
                    if fake.restored().len() > 3 || fake.images.borrow().len() > 1 {
                        // It was finished before it was killed: then the newer set is rightly restored, too.
                        continue;
                    }
                    assert_right(&fake, &action, &context);
                    let days: BTreeSet<String> =
                        made.volumes.iter().map(|volume| volume.snapshot.as_str()[5..7].to_owned()).collect();
                    assert!(days.len() <= 1, "{context}: {days:?}");
                }
                assert!(survived, "{action:?} has more calls than were tried");
            }
        }
    }
}
