use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use chrono::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::{
    fake::{ClaimFault, FakeClaims},
    fleet::{SnapshotState, Tags},
};

const KEY: &str = "claims/copy/us-east-1/snap-1";
const RETRY_SECONDS: u32 = 60;

fn at(seconds: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_790_000_000 + seconds, 0).unwrap()
}

fn attempt(name: &str) -> Attempt {
    Attempt::new(name)
}

fn made(id: &str, seconds: i64) -> Made {
    Made { id: id.parse().unwrap(), volume: None, at: at(seconds) }
}

fn snapshot(id: &str, state: SnapshotState) -> Snapshot {
    Snapshot {
        id: id.parse().unwrap(),
        volume: None,
        state,
        started: at(0),
        description: String::new(),
        state_message: None,
        completed: None,
        full_size: None,
        stored: Default::default(),
        tags: Tags::new(),
    }
}

/// The result of a future that never has to wait.
fn now_of<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the fakes do not wait"),
    }
}

/// Asks for the one copy, at a moment; `shown` is what EC2 shows of it.
fn ask(claims: &FakeClaims, name: &str, seconds: i64, shown: &[Snapshot]) -> Result<ClaimDecision, Failure> {
    claims.now.set(at(seconds));
    let attempt = attempt(name);
    let asking = ClaimRequest { attempt: &attempt, looked: at(seconds), shown, takeover: takeover(RETRY_SECONDS) };
    now_of(take(claims, KEY.into(), asking, at(seconds), <[Made]>::is_empty))
}

fn mine(turn: Result<ClaimDecision, Failure>) -> Held {
    match turn.unwrap() {
        ClaimDecision::Mine(held) => held,
        ClaimDecision::Others(made) => panic!("another's, with {made:?}"),
    }
}

fn others(turn: Result<ClaimDecision, Failure>) -> Vec<Made> {
    match turn.unwrap() {
        ClaimDecision::Others(made) => made,
        ClaimDecision::Mine(held) => panic!("{held:?}"),
    }
}

fn stored(claims: &FakeClaims) -> Claim {
    Claim::read(&claims.objects.borrow()[KEY])
}

#[test]
fn the_second_waits_for_the_first_and_adopts_by_id_what_it_made() {
    let claims = FakeClaims::new(at(0));
    let held = mine(ask(&claims, "one", 0, &[]));
    assert_eq!(others(ask(&claims, "two", 1, &[])), []);
    now_of(held.close(&claims, vec![made("snap-a", 2)])).unwrap();
    assert_eq!(others(ask(&claims, "two", 3, &[])), [made("snap-a", 2)]);
    assert_eq!((claims.count("create"), claims.count("replace")), (3, 1));
}

#[test]
fn a_refusal_sets_the_claim_free_for_the_next() {
    let claims = FakeClaims::new(at(0));
    now_of(mine(ask(&claims, "one", 0, &[])).close(&claims, vec![])).unwrap();
    assert_eq!(stored(&claims).state, State::Free);
    mine(ask(&claims, "two", 1, &[]));
    assert_eq!((stored(&claims).attempt, stored(&claims).at), (attempt("two"), at(1)));
}

#[test]
fn an_open_claim_is_taken_over_when_its_holder_is_dead_and_what_it_made_would_show() {
    let claims = FakeClaims::new(at(0));
    mine(ask(&claims, "one", 0, &[]));
    assert_eq!(takeover(RETRY_SECONDS), TimeDelta::seconds(180));
    assert_eq!(others(ask(&claims, "two", 179, &[])), []);
    mine(ask(&claims, "two", 180, &[]));
    assert_eq!(others(ask(&claims, "three", 181, &[])), [], "one takes it over, not two");
}

#[test]
fn what_is_in_error_or_not_described_for_ten_minutes_counts_as_nothing() {
    for (seconds, shown, counts) in [
        (60, vec![], true),
        (60, vec![snapshot("snap-a", SnapshotState::Error)], false),
        (60, vec![snapshot("snap-a", SnapshotState::Other)], false),
        (60, vec![snapshot("snap-b", SnapshotState::Error)], true),
        (599, vec![], true),
        (600, vec![], false),
        (600, vec![snapshot("snap-a", SnapshotState::Completed)], true),
    ] {
        let claims = FakeClaims::new(at(0));
        now_of(mine(ask(&claims, "one", 0, &[])).close(&claims, vec![made("snap-a", 0)])).unwrap();
        let turn = ask(&claims, "two", seconds, &shown).unwrap();
        assert_eq!(turn == ClaimDecision::Others(vec![made("snap-a", 0)]), counts, "{seconds} {shown:?}");
        assert_eq!(stored(&claims).made.is_empty(), !counts, "what counts as nothing is forgotten");
    }
}

#[test]
fn a_partial_set_is_adopted_and_the_rest_of_it_made() {
    let claims = FakeClaims::new(at(0));
    now_of(mine(ask(&claims, "one", 0, &[])).close(&claims, vec![made("snap-a", 0)])).unwrap();
    let name = attempt("two");
    let asking = ClaimRequest { attempt: &name, looked: at(60), shown: &[], takeover: takeover(RETRY_SECONDS) };
    let turn = now_of(take(&claims, KEY.into(), asking, at(60), |made| made.len() < 2));
    let held = mine(turn);
    assert_eq!(held.made(), [made("snap-a", 0)]);
    now_of(held.close(&claims, vec![made("snap-b", 61)])).unwrap();
    assert_eq!(stored(&claims).made, [made("snap-a", 0), made("snap-b", 61)]);
}

#[test]
fn after_a_lost_answer_the_claim_stays_open_with_what_is_known() {
    let claims = FakeClaims::new(at(0));
    now_of(mine(ask(&claims, "one", 0, &[])).leave_open(&claims, vec![made("snap-a", 0)])).unwrap();
    assert_eq!(others(ask(&claims, "two", 60, &[])), [made("snap-a", 0)]);
    assert_eq!(stored(&claims).state, State::Open);
}

#[test]
fn a_call_that_was_repeated_on_the_way_is_known_by_the_attempt() {
    let claims = FakeClaims::new(at(0));
    claims.fail_next("create", ClaimFault::Repeated);
    let held = mine(ask(&claims, "one", 0, &[]));
    claims.fail_next("replace", ClaimFault::Repeated);
    now_of(held.close(&claims, vec![])).unwrap();
    claims.fail_next("replace", ClaimFault::Repeated);
    let mut held = mine(ask(&claims, "two", 1, &[]));
    claims.fail_next("replace", ClaimFault::Repeated);
    assert!(now_of(held.renew(&claims, at(100), takeover(RETRY_SECONDS))).unwrap());
    assert_eq!((stored(&claims).attempt, stored(&claims).at), (attempt("two"), at(100)));
}

#[test]
fn a_conflict_is_tried_again_and_not_for_ever() {
    let claims = FakeClaims::new(at(0));
    for _ in 0..MAX_TRIES - 1 {
        claims.fail_next("create", ClaimFault::Conflict);
    }
    let held = mine(ask(&claims, "one", 0, &[]));
    for _ in 0..MAX_TRIES - 1 {
        claims.fail_next("replace", ClaimFault::Conflict);
    }
    now_of(held.close(&claims, vec![])).unwrap();
    for _ in 0..MAX_TRIES {
        claims.fail_next("create", ClaimFault::Conflict);
    }
    let failure = ask(&claims, "two", 1, &[]).unwrap_err();
    assert_eq!(failure.name, ErrorName::StorageFailed);
    assert!(failure.cause.contains(KEY), "{failure}");
    assert_eq!(stored(&claims).attempt, attempt("one"));
}

#[test]
fn without_the_bucket_it_is_nobodys_turn() {
    for fault in [ClaimFault::Unavailable, ClaimFault::AnswerLost] {
        let claims = FakeClaims::new(at(0));
        claims.fail_next("create", fault);
        assert_eq!(ask(&claims, "one", 0, &[]).unwrap_err().name, ErrorName::StorageFailed);
    }
}

#[test]
fn a_holder_claims_anew_at_half_the_age_and_knows_when_it_is_too_late() {
    let claims = FakeClaims::new(at(0));
    let mut held = mine(ask(&claims, "one", 0, &[]));
    assert!(now_of(held.renew(&claims, at(90), takeover(RETRY_SECONDS))).unwrap());
    assert_eq!(stored(&claims).at, at(0));
    assert!(now_of(held.renew(&claims, at(91), takeover(RETRY_SECONDS))).unwrap());
    assert_eq!(stored(&claims).at, at(91));
    assert_eq!(others(ask(&claims, "two", 200, &[])), [], "a renewed claim counts from its new time");
    mine(ask(&claims, "two", 271, &[]));
    assert!(!now_of(held.renew(&claims, at(272), takeover(RETRY_SECONDS))).unwrap());
    assert_eq!(stored(&claims).attempt, attempt("two"));
}

#[test]
fn a_claim_that_cannot_be_read_sticks_no_longer_than_any_other() {
    let claims = FakeClaims::new(at(0));
    now_of(claims.create(KEY, "by hand")).unwrap();
    assert_eq!(others(ask(&claims, "one", 179, &[])), []);
    mine(ask(&claims, "one", 180, &[]));
}

#[test]
fn a_claim_is_in_flight_until_it_is_free_shown_or_given_up() {
    let takeover = takeover(RETRY_SECONDS);
    let claim = |state, made: &[Made]| Claim { attempt: attempt("one"), at: at(0), state, made: made.to_vec() };
    let (open, free) = (claim(State::Open, &[]), claim(State::Free, &[]));
    let ready = claim(State::Made, &[made("snap-a", 0)]);
    assert!(open.is_in_flight(&[], at(179), takeover) && !open.is_in_flight(&[], at(180), takeover));
    assert!(!free.is_in_flight(&[], at(0), takeover));
    assert!(ready.is_in_flight(&[], at(179), takeover) && !ready.is_in_flight(&[], at(180), takeover));
    assert!(!ready.is_in_flight(&[snapshot("snap-a", SnapshotState::Error)], at(1), takeover));
}

#[test]
fn a_runs_claim_is_the_same_for_the_same_wish() {
    let started = "2026-11-22T03:00:07Z".parse().unwrap();
    let claim = |input: Value| RunClaim::of(&Run::read(&input, "arn", started, 20).unwrap()).input;
    let whole = claim(json!({}));
    for same in [
        json!({"phases": ["expire", "copy", "snapshot"], "scheduledTime": "2026-11-22T03:00:00Z"}),
        json!({"scheduledTime": "20261122T030000Z", "allowMassExpire": [], "dryRun": false}),
    ] {
        assert_eq!(claim(same.clone()), whole, "{same}");
    }
    for other in [json!({"phases": ["copy"]}), json!({"allowMassExpire": true})] {
        assert_ne!(claim(other.clone()), whole, "{other}");
    }
}

/// How EC2 answers an attempt that acts.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    Lost,
    NeverSent,
    Refused,
}

/// An EC2 that holds copies of one source, and shows them late.
struct World {
    now: Cell<DateTime<Utc>>,
    claims: FakeClaims,
    copies: RefCell<Vec<Snapshot>>,
    begun: Cell<usize>,
    lag: TimeDelta,
}

impl World {
    fn new(lag: i64) -> Self {
        let claims = FakeClaims::new(at(0));
        claims.paced.set(true);
        Self {
            now: Cell::new(at(0)),
            claims,
            copies: RefCell::default(),
            begun: Cell::new(0),
            lag: TimeDelta::seconds(lag),
        }
    }

    fn pass(&self, seconds: i64) {
        self.now.set(self.now.get() + TimeDelta::seconds(seconds));
        self.claims.now.set(self.now.get());
    }

    fn shown(&self) -> Vec<Snapshot> {
        self.copies.borrow().iter().filter(|copy| copy.started + self.lag <= self.now.get()).cloned().collect()
    }

    fn live(&self) -> usize {
        self.copies.borrow().iter().filter(|copy| copy.is_live()).count()
    }

    fn make(&self) -> SnapshotId {
        let mut copies = self.copies.borrow_mut();
        self.begun.set(self.begun.get() + 1);
        let mut copy = snapshot(&format!("snap-{:x}", self.begun.get()), SnapshotState::Pending);
        copy.started = self.now.get();
        copies.push(copy);
        copies[copies.len() - 1].id.clone()
    }

    /// Lets other attempts run.
    async fn pause(&self) {
        let mut paused = false;
        poll_fn(|_| if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// One attempt, in the same order as the workers. Returns whether it knows of a copy.
    async fn attempt(&self, name: usize, fate: Fate) -> bool {
        let (attempt, looked) = (attempt(&name.to_string()), self.now.get());
        self.pause().await;
        let shown = self.shown();
        self.pause().await;
        if shown.iter().any(Snapshot::is_live) {
            return true;
        }
        let takeover = takeover(RETRY_SECONDS);
        let asking = ClaimRequest { attempt: &attempt, looked, shown: &shown, takeover };
        let turn = take(&self.claims, KEY.into(), asking, self.now.get(), <[Made]>::is_empty).await;
        let mut held = match turn {
            Ok(ClaimDecision::Mine(held)) => held,
            Ok(ClaimDecision::Others(made)) => return !made.is_empty(),
            Err(_) => return false,
        };
        if !matches!(held.renew(&self.claims, self.now.get(), takeover).await, Ok(true)) {
            return false;
        }
        // The answer comes later, or never.
        let id = match fate {
            Fate::Answered | Fate::Lost => Some(self.make()),
            Fate::NeverSent | Fate::Refused => None,
        };
        let now = self.now.get();
        self.pause().await;
        let made = id.into_iter().map(|id| Made { id, volume: None, at: now }).collect::<Vec<_>>();
        let done = !made.is_empty();
        let (written, done) = match fate {
            Fate::Answered | Fate::Refused => (held.close(&self.claims, made).await, done),
            Fate::Lost | Fate::NeverSent => (held.leave_open(&self.claims, vec![]).await, false),
        };
        written.is_ok() && done
    }
}

#[derive(Clone, Debug)]
enum Step {
    Begin(Fate),
    GoOn(usize),
    Kill(usize),
    Pass(i64),
    Fault(&'static str, ClaimFault),
    Break,
    Delete,
}

fn step() -> impl Strategy<Value = Step> {
    let lucky = Just(Fate::Answered);
    let fate = prop_oneof![4 => lucky, 1 => Just(Fate::Lost), 1 => Just(Fate::NeverSent), 1 => Just(Fate::Refused)];
    let fault = prop_oneof![
        Just(ClaimFault::Conflict),
        Just(ClaimFault::Repeated),
        Just(ClaimFault::AnswerLost),
        Just(ClaimFault::Unavailable),
    ];
    let call = prop_oneof![Just("create"), Just("replace"), Just("stored")];
    prop_oneof![
        4 => fate.prop_map(Step::Begin),
        30 => (0usize..4).prop_map(Step::GoOn),
        1 => (0usize..4).prop_map(Step::Kill),
        4 => (1i64..50).prop_map(Step::Pass),
        1 => (50i64..700).prop_map(Step::Pass),
        2 => (call, fault).prop_map(|(call, fault)| Step::Fault(call, fault)),
        1 => Just(Step::Break),
        1 => Just(Step::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Attempts overlap, are killed, lose answers and meet faults of the bucket: there is never more than one copy, and
    /// one at the end.
    #[test]
    fn never_two_and_always_one_in_the_end(lag in 0i64..119, steps in prop::collection::vec(step(), 1..150)) {
        let world = World::new(lag);
        type Running<'a> = (DateTime<Utc>, Pin<Box<dyn Future<Output = bool> + 'a>>);
        let mut running: Vec<Running<'_>> = Vec::new();
        let mut names = 0..;
        let mut deleted_unseen = false;
        for step in steps {
            match step {
                Step::Begin(fate) => {
                    running.push((world.now.get(), Box::pin(world.attempt(names.next().unwrap(), fate))));
                }
                Step::GoOn(which) if !running.is_empty() => {
                    let which = which % running.len();
                    if running[which].1.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                        drop(running.remove(which));
                    }
                }
                Step::Kill(which) if !running.is_empty() => drop(running.remove(which % running.len())),
                Step::GoOn(_) | Step::Kill(_) => {}
                Step::Pass(seconds) => {
                    world.pass(seconds);
                    // Lambda ends a function at its time-out.
                    running.retain(|(since, _)| world.now.get() - *since < FUNCTION_TIMEOUT);
                }
                Step::Fault(call, fault) => world.claims.fail_next(call, fault),
                Step::Break => world.copies.borrow_mut().iter_mut().for_each(|c| c.state = SnapshotState::Error),
                Step::Delete => {
                    deleted_unseen |= !world.copies.borrow().is_empty();
                    world.copies.borrow_mut().clear();
                }
            }
            prop_assert!(world.live() <= 1, "{:?}", world.copies.borrow());
        }
        drop(running);
        // A copy that was deleted by hand is missing once its id cannot be late any more.
        let patience = if deleted_unseen { MAX_DESCRIBE_LAG } else { takeover(RETRY_SECONDS) };
        let end = world.now.get() + patience.max(takeover(RETRY_SECONDS)) + TimeDelta::seconds(lag);
        let mut done = false;
        // The faults that are left over are met now.
        while world.now.get() <= end || (!done && world.now.get() < end + TimeDelta::minutes(60)) {
            let mut last = Box::pin(world.attempt(names.next().unwrap(), Fate::Answered));
            done = loop {
                if let Poll::Ready(done) = last.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    break done;
                }
            };
            prop_assert!(world.live() <= 1, "{:?}", world.copies.borrow());
            world.pass(15);
        }
        prop_assert!(done && world.live() == 1, "{done} {:?} {:?}", world.copies.borrow(), world.claims.objects.borrow());
    }
}
