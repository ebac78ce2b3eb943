use std::{cell::RefCell, collections::BTreeSet};

use domain::outcome::Outcome::{Declined, Done, Fail, Later, Onward, Retry};
use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    volume: String,
}

impl About for Task {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![("Volume", self.volume.clone())]
    }
}

/// A body, and the names and values of its attributes.
type DeadLetter = (String, Vec<(String, String)>);

/// A queue, its dead-letter queue and a state machine in memory.
#[derive(Debug, Default)]
struct WorkerQueue {
    /// The dead tokens.
    dead: BTreeSet<&'static str>,
    /// The calls that fail.
    down: BTreeSet<&'static str>,
    /// The answers that the state machine got, in order.
    told: RefCell<Vec<String>>,
    sent_later: RefCell<Vec<(String, u32)>>,
    dead_letters: RefCell<Vec<DeadLetter>>,
    hidden: RefCell<Vec<(String, u32)>>,
}

impl WorkerQueue {
    fn enter(&self, call: &'static str) -> Result<(), CallFailed> {
        if self.down.contains(call) { Err(CallFailed(format!("{call} is down"))) } else { Ok(()) }
    }

    fn hear(&self, call: &'static str, token: &str, what: String) -> Result<Token, CallFailed> {
        self.enter(call)?;
        if self.dead.contains(token) {
            return Ok(Token::Dead);
        }
        self.told.borrow_mut().push(format!("{call} {token}{what}"));
        Ok(Token::Alive)
    }

    fn told(&self) -> String {
        self.told.borrow().join(", ")
    }

    fn was_left_alone(&self) -> bool {
        self.sent_later.borrow().is_empty() && self.dead_letters.borrow().is_empty() && self.hidden.borrow().is_empty()
    }
}

impl Callbacks for WorkerQueue {
    async fn heartbeat(&self, token: &str) -> Result<Token, CallFailed> {
        self.hear("heartbeat", token, String::new())
    }

    async fn succeed(&self, token: &str, result: &Value) -> Result<Token, CallFailed> {
        self.hear("success", token, format!(" {result}"))
    }

    async fn fail(&self, token: &str, failure: &Failure) -> Result<Token, CallFailed> {
        self.hear("failure", token, format!(" {}", failure.name))
    }
}

impl Queue for WorkerQueue {
    async fn send_later(&self, body: &str, seconds: u32) -> Result<(), CallFailed> {
        self.enter("send_later")?;
        self.sent_later.borrow_mut().push((body.to_owned(), seconds));
        Ok(())
    }

    async fn send_dead(&self, body: &str, attributes: &[(&str, String)]) -> Result<(), CallFailed> {
        self.enter("send_dead")?;
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.dead_letters.borrow_mut().push((body.to_owned(), attributes));
        Ok(())
    }

    async fn hide(&self, receipt: &str, seconds: u32) -> Result<(), CallFailed> {
        self.enter("hide")?;
        self.hidden.borrow_mut().push((receipt.to_owned(), seconds));
        Ok(())
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn body(token: Option<&str>) -> String {
    let mut body = json!({"version": 1, "task": {"volume": "vol-1"}, "sentAt": "2026-11-22T03:00:00Z"});
    if let Some(token) = token {
        body["taskToken"] = json!(token);
    }
    body.to_string()
}

/// The first delivery of a message, named after its number in the batch.
fn delivery(number: usize, body: String) -> Delivery {
    let (id, receipt) = (format!("m{number}"), format!("r{number}"));
    Delivery { id, receipt, body, receive_count: 1, sent: at("2026-11-22T03:05:00Z") }
}

const ACTS: Rules = Rules { acts: true, max_receives: 5, retry_seconds: 60 };
const LOOKS: Rules = Rules { acts: false, max_receives: 5, retry_seconds: 60 };

/// Delivers a batch at ten past three. Returns the ids to deliver again, and the number of tasks that were handled.
async fn batch(line: &WorkerQueue, rules: Rules, batch: Vec<Delivery>, outcomes: &[Outcome]) -> (Vec<String>, usize) {
    let mut worked_on = 0;
    let again = deliver(batch, line, rules, at("2026-11-22T03:10:00Z"), async |tasks: Vec<Task>| {
        worked_on = tasks.len();
        outcomes[..tasks.len()].to_vec()
    })
    .await;
    (again, worked_on)
}

/// Delivers one message whose token is `t`.
async fn one(line: &WorkerQueue, rules: Rules, outcome: Outcome) -> (Vec<String>, usize) {
    batch(line, rules, vec![delivery(0, body(Some("t")))], &[outcome]).await
}

fn refused() -> Failure {
    Failure::new(ErrorName::AccessDenied, "not allowed")
}

fn nothing() -> Vec<String> {
    vec![]
}

fn again() -> Vec<String> {
    vec!["m0".into()]
}

#[tokio::test]
async fn done_is_deleted_and_told_as_success() {
    let line = WorkerQueue::default();
    assert_eq!(one(&line, ACTS, Done(json!({"x": 1}))).await, (nothing(), 1));
    assert_eq!(line.told(), r#"heartbeat t, success t {"x":1}"#);
    assert!(line.was_left_alone());
}

#[tokio::test]
async fn later_is_sent_again_as_it_was_and_told_as_a_heartbeat() {
    let line = WorkerQueue::default();
    assert_eq!(one(&line, LOOKS, Later(90)).await, (nothing(), 1));
    assert_eq!(line.told(), "heartbeat t");
    let (sent, seconds) = line.sent_later.borrow()[0].clone();
    assert_eq!(seconds, 90);
    let expected = Message::<Task>::read(&body(Some("t"))).unwrap();
    assert_eq!(Message::<Task>::read(&sent).unwrap(), expected, "sentAt survives");
    assert!(line.hidden.borrow().is_empty() && line.dead_letters.borrow().is_empty());
}

#[tokio::test]
async fn onward_sends_the_changed_task_and_all_else_as_it_was() {
    let line = WorkerQueue::default();
    assert_eq!(one(&line, ACTS, Onward(json!({"volume": "vol-2"}), 5)).await, (nothing(), 1));
    assert_eq!(line.told(), "heartbeat t, heartbeat t");
    let (sent, seconds) = line.sent_later.borrow()[0].clone();
    let mut expected = Message::<Task>::read(&body(Some("t"))).unwrap();
    expected.task.volume = "vol-2".into();
    assert_eq!((Message::<Task>::read(&sent).unwrap(), seconds), (expected, 5));
    assert!(line.dead_letters.borrow().is_empty());
}

#[tokio::test]
async fn retry_comes_back_after_a_growing_pause_and_fails_on_the_last_delivery() {
    for (receive_count, pause) in [(1, 60), (2, 120), (3, 240), (4, 480)] {
        let line = WorkerQueue::default();
        let retried = Delivery { receive_count, ..delivery(0, body(Some("t"))) };
        assert_eq!(batch(&line, ACTS, vec![retried], &[Retry(refused())]).await, (again(), 1));
        assert_eq!(*line.hidden.borrow(), [("r0".to_owned(), pause)]);
        assert_eq!(line.told(), "heartbeat t, heartbeat t");
        assert!(line.sent_later.borrow().is_empty() && line.dead_letters.borrow().is_empty());
    }
    let line = WorkerQueue::default();
    let last = Delivery { receive_count: 5, ..delivery(0, body(Some("t"))) };
    assert_eq!(batch(&line, ACTS, vec![last], &[Retry(refused())]).await, (nothing(), 1));
    assert_eq!(line.told(), "heartbeat t, failure t AccessDenied");
    assert_eq!(line.dead_letters.borrow().len(), 1);
}

#[tokio::test]
async fn fail_goes_to_the_dead_letter_queue_without_its_token_and_with_its_reason() {
    let line = WorkerQueue::default();
    assert_eq!(one(&line, ACTS, Fail(refused())).await, (nothing(), 1));
    assert_eq!(line.told(), "heartbeat t, failure t AccessDenied");
    let (dead, attributes) = line.dead_letters.borrow()[0].clone();
    let dead: Value = serde_json::from_str(&dead).unwrap();
    assert_eq!(dead, json!({"version": 1, "task": {"volume": "vol-1"}}), "put back, it has 24 hours from then");
    let expected = [("Error", "AccessDenied"), ("Cause", "not allowed"), ("Volume", "vol-1")];
    assert_eq!(attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(line.sent_later.borrow().is_empty() && line.hidden.borrow().is_empty());
}

#[tokio::test]
async fn a_poison_message_goes_to_the_dead_letter_queue_at_once_and_its_batch_goes_on() {
    let other_version = json!({"version": 2, "taskToken": "t1", "task": {"volume": "vol-1"}}).to_string();
    let no_task = json!({"version": 1, "taskToken": "t2"}).to_string();
    let other_token = json!({"version": 1, "taskToken": 7, "task": {"volume": "vol-1"}}).to_string();
    let bodies = ["snap".to_owned(), other_version, body(Some("t")), no_task, other_token];
    let line = WorkerQueue::default();
    let deliveries = bodies.into_iter().enumerate().map(|(i, body)| delivery(i, body)).collect();
    assert_eq!(batch(&line, ACTS, deliveries, &[Done(json!({}))]).await, (nothing(), 1));
    assert_eq!(line.told(), "failure t1 BadMessage, heartbeat t, failure t2 BadMessage, success t {}");
    let dead = line.dead_letters.borrow();
    assert_eq!(dead.iter().map(|(body, _)| body.contains("taskToken")).collect::<Vec<_>>(), [false; 4]);
    assert_eq!((dead[0].0.as_str(), dead[2].0.as_str()), ("snap", r#"{"version":1}"#));
    for (_, attributes) in dead.iter() {
        let names: Vec<_> = attributes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Error", "Cause"]);
        assert!(attributes[0].1 == "BadMessage" && !attributes[1].1.is_empty(), "{attributes:?}");
    }
}

#[tokio::test]
async fn in_a_batch_each_message_has_its_own_outcome() {
    let line = WorkerQueue { dead: ["t4"].into(), ..WorkerQueue::default() };
    let deliveries = (0..5).map(|i| delivery(i, body(Some(&format!("t{i}"))))).collect();
    let outcomes = [Done(json!({})), Later(60), Retry(refused()), Fail(refused())];
    assert_eq!(batch(&line, ACTS, deliveries, &outcomes).await, (vec!["m2".to_owned()], 4));
    assert!(line.told().contains("success t0 {}") && line.told().contains("failure t3 AccessDenied"));
    assert!(line.sent_later.borrow()[0].0.contains(r#""t1""#), "{line:?}");
    assert_eq!(*line.hidden.borrow(), [("r2".to_owned(), 60)]);
}

#[tokio::test]
async fn where_nobody_waits_nothing_is_done_and_no_wait_goes_on() {
    let dead = || WorkerQueue { dead: ["t"].into(), ..WorkerQueue::default() };
    let line = dead();
    assert_eq!(one(&line, ACTS, Done(json!({}))).await, (nothing(), 0), "a worker that acts does not begin");
    assert!(line.was_left_alone());
    let line = dead();
    assert_eq!(one(&line, LOOKS, Later(60)).await, (nothing(), 1), "one that looks does not go on looking");
    assert!(line.was_left_alone());
    let line = dead();
    assert_eq!(one(&line, LOOKS, Done(json!({}))).await, (nothing(), 1));
    assert!(line.was_left_alone());
}

#[tokio::test]
async fn where_it_is_not_known_whether_somebody_waits_nothing_is_done_and_it_comes_back() {
    let line = WorkerQueue { down: ["heartbeat"].into(), ..WorkerQueue::default() };
    assert_eq!(one(&line, ACTS, Done(json!({}))).await, (again(), 0));
    assert!(line.was_left_alone());
    assert_eq!(one(&line, LOOKS, Later(60)).await, (nothing(), 1), "a look needs no permission");
    assert_eq!(line.sent_later.borrow().len(), 1);
}

#[tokio::test]
async fn what_could_not_be_passed_on_is_delivered_again() {
    for (down, outcome) in [("send_later", Later(60)), ("success", Done(json!({}))), ("send_dead", Fail(refused()))] {
        let line = WorkerQueue { down: [down].into(), ..WorkerQueue::default() };
        assert_eq!(one(&line, LOOKS, outcome).await, (again(), 1), "{down}");
        assert!(!line.told().contains("failure"), "no answer before the dead letter is sent: {}", line.told());
    }
    let line = WorkerQueue { down: ["send_dead"].into(), ..WorkerQueue::default() };
    let poison = json!({"taskToken": "t"}).to_string();
    assert_eq!(batch(&line, ACTS, vec![delivery(0, poison)], &[]).await, (again(), 0));
    assert_eq!(line.told(), "");
    let line = WorkerQueue { down: ["hide"].into(), ..WorkerQueue::default() };
    assert_eq!(one(&line, ACTS, Retry(refused())).await, (again(), 1), "after the queue's own time-out");
    let line = WorkerQueue { down: ["failure"].into(), ..WorkerQueue::default() };
    assert_eq!(one(&line, ACTS, Fail(refused())).await, (nothing(), 1), "the heartbeat ends the task");
    assert_eq!(line.dead_letters.borrow().len(), 1);
}

#[tokio::test]
async fn a_message_put_back_by_hand_acts_for_a_day_and_tells_nobody() {
    for (sent, acts) in [("2026-11-21T03:10:00Z", true), ("2026-11-21T03:09:59Z", false)] {
        for rules in [ACTS, LOOKS] {
            let line = WorkerQueue::default();
            let by_hand = json!({"version": 1, "task": {"volume": "vol-1"}}).to_string();
            let put_back = Delivery { sent: at(sent), ..delivery(0, by_hand) };
            let (redelivered, worked_on) = batch(&line, rules, vec![put_back], &[Done(json!({}))]).await;
            assert_eq!((redelivered, worked_on == 1, line.told()), (nothing(), acts, String::new()), "{sent}");
            let dead = line.dead_letters.borrow();
            assert_eq!(dead.len(), usize::from(!acts));
            assert!(dead.iter().all(|(_, attributes)| attributes[0].1 == "MessageExpired"), "{dead:?}");
        }
    }
}

#[tokio::test]
async fn waiting_does_not_lengthen_the_day_of_a_message_put_back_by_hand() {
    let line = WorkerQueue::default();
    let by_hand = json!({"version": 1, "task": {"volume": "vol-1"}}).to_string();
    let put_back = Delivery { sent: at("2026-11-21T03:10:00Z"), ..delivery(0, by_hand) };
    batch(&line, ACTS, vec![put_back], &[Later(900)]).await;
    let (next, _) = line.sent_later.borrow()[0].clone();
    let later = at("2026-11-22T03:25:00Z");
    let delivery = Delivery { sent: at("2026-11-22T03:10:00Z"), ..delivery(0, next) };
    let again = deliver(vec![delivery], &line, ACTS, later, async |_: Vec<Task>| unreachable!("its day is over")).await;
    assert_eq!(again, nothing());
    assert_eq!(line.dead_letters.borrow()[0].1[0].1, "MessageExpired");
}

#[tokio::test]
async fn after_the_deadline_of_its_run_a_task_ends_and_leaves_no_letter() {
    let due =
        |deadline: &str| json!({"version": 1, "taskToken": "t", "task": {"volume": "vol-1"}, "deadline": deadline});
    for rules in [ACTS, LOOKS] {
        let line = WorkerQueue::default();
        let late = delivery(0, due("2026-11-22T03:09:59Z").to_string());
        assert_eq!(batch(&line, rules, vec![late.clone()], &[]).await, (nothing(), 0));
        assert_eq!(line.told(), "failure t OutOfTime");
        assert!(line.was_left_alone());
        let line = WorkerQueue { down: ["failure"].into(), ..WorkerQueue::default() };
        assert_eq!(batch(&line, rules, vec![late], &[]).await, (again(), 0), "the answer is sent again");

        let line = WorkerQueue::default();
        let in_time = delivery(0, due("2026-11-22T03:10:00Z").to_string());
        assert_eq!(batch(&line, rules, vec![in_time], &[Later(60)]).await, (nothing(), 1));
        let (next, _) = line.sent_later.borrow()[0].clone();
        assert!(Message::<Task>::read(&next).unwrap().deadline.is_some(), "waiting does not move the deadline");
    }
    let line = WorkerQueue::default();
    let by_hand = json!({"version": 1, "task": {"volume": "vol-1"}, "deadline": "2026-11-22T03:09:59Z"}).to_string();
    assert_eq!(batch(&line, ACTS, vec![delivery(0, by_hand)], &[Done(json!({}))]).await, (nothing(), 1));
}

/// A task that is done whoever waits for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Thaw {
    volume: String,
    #[serde(skip)]
    by_hand: bool,
}

impl About for Thaw {
    fn about(&self) -> Vec<(&'static str, String)> {
        vec![("Volume", self.volume.clone())]
    }

    fn outlives_its_run(&self) -> bool {
        true
    }

    fn note_by_hand(&mut self) {
        self.by_hand = true;
    }
}

#[tokio::test]
async fn what_outlives_its_run_is_done_for_nobody_and_knows_it() {
    for (dead, down, is_by_hand) in [(Some("t1"), None, true), (None, Some("heartbeat"), false), (None, None, false)] {
        let ports =
            WorkerQueue { dead: dead.into_iter().collect(), down: down.into_iter().collect(), ..Default::default() };
        let past_its_deadline = {
            let mut value: Value = serde_json::from_str(&body(Some("t1"))).unwrap();
            value["deadline"] = json!("2026-11-22T03:01:00Z");
            value.to_string()
        };
        let rules = Rules { acts: true, max_receives: 5, retry_seconds: 60 };
        let again = deliver(
            vec![delivery(1, past_its_deadline)],
            &ports,
            rules,
            at("2026-11-22T03:10:00Z"),
            async |tasks: Vec<Thaw>| {
                assert_eq!(tasks[0].by_hand, is_by_hand, "{dead:?} {down:?}");
                vec![Later(2)]
            },
        )
        .await;
        assert!(again.is_empty());
        let next: Value = serde_json::from_str(&ports.sent_later.borrow()[0].0).unwrap();
        assert_eq!(next["taskToken"], if dead.is_some() { Value::Null } else { json!("t1") }, "it goes on");
        assert_eq!(next["deadline"], Value::Null);
    }
}

#[tokio::test]
async fn what_is_declined_is_told_and_leaves_no_letter() {
    let rules = Rules { acts: true, max_receives: 5, retry_seconds: 60 };
    let declined = || Declined(Failure::new(ErrorName::SnapshotNotNow, "throttled"));
    let ports = WorkerQueue::default();
    let again = deliver(
        vec![delivery(1, body(Some("t1")))],
        &ports,
        rules,
        at("2026-11-22T03:10:00Z"),
        async |_: Vec<Task>| vec![declined()],
    )
    .await;
    assert!(again.is_empty() && ports.was_left_alone());
    assert_eq!(ports.told(), "heartbeat t1, failure t1 SnapshotNotNow");

    let ports = WorkerQueue::default();
    deliver(vec![delivery(1, body(None))], &ports, rules, at("2026-11-22T03:10:00Z"), async |_: Vec<Task>| {
        vec![declined()]
    })
    .await;
    assert_eq!(ports.dead_letters.borrow().len(), 1, "where nobody hears it, a letter keeps it");
}
