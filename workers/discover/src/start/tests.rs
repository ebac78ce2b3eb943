use domain::fake::{ClaimFault, FakeClaims, FakeExecutionStates};
use serde_json::json;

use super::*;

const FIRST: &str = "arn:aws:states:eu-west-1:1:execution:backup:first";
const SECOND: &str = "arn:aws:states:eu-west-1:1:execution:backup:second";
const KEY: &str = "claims/run/20261122T030000Z";

fn started() -> DateTime<Utc> {
    "2026-11-22T03:00:07Z".parse().unwrap()
}

/// Claims, and executions that have not ended.
struct World {
    claims: FakeClaims,
    executions: FakeExecutionStates,
}

impl World {
    fn new() -> Self {
        let world = Self { claims: FakeClaims::new(started()), executions: FakeExecutionStates::default() };
        world.is(FIRST, ExecutionState::Running);
        world.is(SECOND, ExecutionState::Running);
        world
    }

    fn is(&self, execution: &str, state: ExecutionState) {
        self.executions.states.borrow_mut().insert(execution.into(), state);
    }

    async fn start_at(&self, execution: &str, more: Value, now: DateTime<Utc>) -> Result<Run, Failure> {
        let mut input = json!({"scheduledTime": "2026-11-22T03:00:00Z"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let starts = StartContext { claims: &self.claims, executions: &self.executions };
        start(&input, execution, started(), &starts, &Settings::read(|_| None).unwrap(), now).await
    }

    async fn start(&self, execution: &str, more: Value) -> Result<Run, Failure> {
        self.start_at(execution, more, started()).await
    }

    fn holder(&self) -> String {
        serde_json::from_str::<RunClaim>(&self.claims.objects.borrow()[KEY].body).unwrap().execution
    }
}

#[tokio::test]
async fn of_two_executions_that_ask_for_the_same_the_second_is_a_duplicate_that_names_the_first() {
    let world = World::new();
    assert_eq!(world.start(FIRST, json!({})).await.unwrap().duplicate_of, None);
    let second = world.start(SECOND, json!({"phases": ["expire", "copy", "snapshot"]})).await.unwrap();
    assert_eq!(second.duplicate_of.as_deref(), Some(FIRST));
    assert_eq!(world.holder(), FIRST);
}

#[tokio::test]
async fn one_that_asks_for_something_else_meanwhile_is_refused_with_the_first_ones_name() {
    let world = World::new();
    world.start(FIRST, json!({})).await.unwrap();
    let failure = world.start(SECOND, json!({"phases": ["copy"]})).await.unwrap_err();
    assert_eq!(failure.name, ErrorName::RunInProgress);
    for part in [FIRST, "20261122T030000Z", "2026-11-22T03:00:07Z", "scheduledTime"] {
        assert!(failure.cause.contains(part), "{failure}");
    }
}

#[tokio::test]
async fn a_start_that_is_retried_knows_its_own_execution() {
    let world = World::new();
    let first = world.start(FIRST, json!({})).await.unwrap();
    assert_eq!(world.start(FIRST, json!({})).await.unwrap(), first);
    for fault in [ClaimFault::Repeated, ClaimFault::AnswerLost] {
        let world = World::new();
        world.claims.fail_next("create", fault);
        let answer = world.start(FIRST, json!({})).await;
        assert_eq!(answer.is_ok(), fault == ClaimFault::Repeated);
        assert_eq!(world.start(FIRST, json!({})).await.unwrap().duplicate_of, None, "{fault:?}");
    }
}

#[tokio::test]
async fn when_the_first_has_ended_the_second_repairs_its_run_whatever_it_asks_for() {
    for more in [json!({}), json!({"phases": ["copy"]})] {
        let world = World::new();
        world.start(FIRST, json!({})).await.unwrap();
        world.is(FIRST, ExecutionState::Ended);
        assert_eq!(world.start(SECOND, more).await.unwrap().duplicate_of, None);
        assert_eq!(world.holder(), SECOND);
    }
}

#[tokio::test]
async fn of_two_that_find_the_first_ended_one_repairs_it() {
    let third = "arn:aws:states:eu-west-1:1:execution:backup:third";
    let world = World::new();
    world.start(FIRST, json!({})).await.unwrap();
    world.is(FIRST, ExecutionState::Ended);
    world.is(third, ExecutionState::Running);
    // The third replaces the claim between the second's read and its write.
    struct Between<'a>(&'a World, std::cell::Cell<bool>);
    impl ExecutionStates for Between<'_> {
        async fn state(&self, execution: &str) -> Result<ExecutionState, Failure> {
            if !self.1.replace(true) {
                let third = "arn:aws:states:eu-west-1:1:execution:backup:third";
                Box::pin(self.0.start(third, json!({}))).await.unwrap();
            }
            self.0.executions.state(execution).await
        }
    }
    let between = Between(&world, std::cell::Cell::new(false));
    let starts = StartContext { claims: &world.claims, executions: &between };
    let input = json!({"scheduledTime": "2026-11-22T03:00:00Z"});
    let settings = Settings::read(|_| None).unwrap();
    let second = start(&input, SECOND, started(), &starts, &settings, started()).await.unwrap();
    assert_eq!((second.duplicate_of.as_deref(), world.holder().as_str()), (Some(third), third));
}

#[tokio::test]
async fn a_dry_run_neither_claims_nor_is_refused() {
    let world = World::new();
    world.start(FIRST, json!({"dryRun": true})).await.unwrap();
    assert!(world.claims.objects.borrow().is_empty());
    world.start(FIRST, json!({})).await.unwrap();
    let dry = world.start(SECOND, json!({"dryRun": true, "phases": ["copy"]})).await.unwrap();
    assert!(dry.dry_run && dry.duplicate_of.is_none());
}

#[tokio::test]
async fn where_nobody_knows_whether_the_first_has_ended_nothing_goes_on() {
    let world = World::new();
    world.start(FIRST, json!({})).await.unwrap();
    world.is(FIRST, ExecutionState::Unknown);
    for minutes in [0, 10] {
        let now = started() + TimeDelta::minutes(minutes);
        assert_eq!(world.start_at(SECOND, json!({}), now).await.unwrap_err().name, ErrorName::StorageFailed);
    }
    world.executions.are_down.set(true);
    let later = started() + TimeDelta::minutes(11);
    assert_eq!(world.start_at(SECOND, json!({}), later).await.unwrap_err().name, ErrorName::StorageFailed);
    assert_eq!(world.holder(), FIRST);
    world.executions.are_down.set(false);
    assert_eq!(world.start_at(SECOND, json!({}), later).await.unwrap().duplicate_of, None, "the first does not exist");
}

#[tokio::test]
async fn a_bucket_that_fails_and_conflicts_that_do_not_end_are_retried_by_the_state_machine() {
    let world = World::new();
    world.claims.fail_next("create", ClaimFault::Unavailable);
    assert_eq!(world.start(FIRST, json!({})).await.unwrap_err().name, ErrorName::StorageFailed);
    for _ in 0..MAX_TRIES {
        world.claims.fail_next("create", ClaimFault::Conflict);
    }
    let failure = world.start(FIRST, json!({})).await.unwrap_err();
    assert!(failure.name == ErrorName::StorageFailed && failure.cause.contains(KEY), "{failure}");
    world.claims.fail_next("create", ClaimFault::Conflict);
    assert!(world.start(FIRST, json!({})).await.is_ok());
}

#[tokio::test]
async fn an_input_that_cannot_be_used_claims_nothing() {
    let world = World::new();
    assert_eq!(world.start(FIRST, json!({"phases": []})).await.unwrap_err().name, ErrorName::InvalidInput);
    assert!(world.claims.objects.borrow().is_empty());
}
