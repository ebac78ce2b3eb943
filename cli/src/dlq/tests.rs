#![allow(clippy::unwrap_used)]

use domain::{
    fake::{FakeEc2, FakeStorage},
    operations::Letter,
};
use serde_json::json;

use super::*;
use crate::{
    args::Letters,
    context::Context,
    fake::FakeOperations,
    progress::Progress,
    show::View,
    stack::tests::stack,
    table::Style,
    trouble::{Code, Trouble},
};

fn letter(id: &str, body: &str, attributes: &[(&str, &str)]) -> Letter {
    Letter {
        id: id.into(),
        handle: format!("handle of {id}"),
        body: body.into(),
        sent: "2026-11-22T03:00:00Z".parse().unwrap(),
        attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

fn copy() -> String {
    let task = json!({"action": "copy", "region": "us-east-1", "snapshot": "snap-1", "description": "", "tags": {}});
    json!({"version": 1, "taskToken": "secret", "deadline": "2026-11-22T23:00:00Z", "sentAt": "2026-11-22T03:00:00Z", "task": task})
        .to_string()
}

/// Two letters of copies and one of a deletion.
fn operations() -> FakeOperations {
    let operations = FakeOperations::default();
    let expire = json!({"version": 1, "task": {"region": "eu-west-1", "planned": "2026-11-21", "snapshots": []}});
    let mut letters = operations.letters.borrow_mut();
    let denied = [("Error", "AccessDenied"), ("Cause", "no"), ("Destination", "us-east-1")];
    letters
        .insert("https://Copy-dead".into(), vec![letter("aa11", &copy(), &denied), letter("aa22", &copy(), &denied)]);
    letters.insert("https://Expire-dead".into(), vec![letter("bb11", &expire.to_string(), &[])]);
    drop(letters);
    operations
}

async fn with<T>(
    operations: &FakeOperations,
    act: impl AsyncFn(&Context<'_, FakeEc2, FakeStorage, FakeOperations>) -> T,
) -> T {
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let ec2 = FakeEc2::new(&["eu-west-1", "us-east-1"], now);
    let context = Context {
        ec2: &ec2,
        storage: &FakeStorage::default(),
        operations,
        stack: &stack(&[]),
        now,
        progress: &Progress::hidden(),
    };
    act(&context).await
}

fn ids(ids: &[&str]) -> Letters {
    Letters { ids: ids.iter().map(|id| (*id).to_owned()).collect(), queue: None, all: ids.is_empty() }
}

#[tokio::test]
async fn reading_shows_every_letter_again_and_no_token() {
    let operations = operations();
    let listed = with(&operations, async |context| list(context, None).await.unwrap()).await;
    assert_eq!(listed.letters.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["aa11", "aa22", "bb11"]);
    assert!(operations.hidden.borrow().is_empty());
    assert!(!crate::show::json_text(&listed).contains("secret"));
    assert_eq!(listed.code(), Code::Owed);
    let text = listed.text(&Style { width: Some(80), colour: false });
    assert!(text.contains("AccessDenied") && text.contains("WorkerCrashed") && text.contains("9 h"), "{text}");
}

#[tokio::test]
async fn a_letter_is_shown_whole_and_fits_the_width() {
    let operations = FakeOperations::default();
    let attributes = [
        ("Error", "KeyNotAccessible"),
        (
            "Cause",
            "EC2 refused CopySnapshot in us-east-1 with InvalidParameterValue: the key cannot be used by the function's role",
        ),
        ("Destination", "us-east-1"),
        ("Instance", "i-0123456789abcdef0"),
        ("Snapshot", "snap-0123456789abcdef0"),
        ("Volume", "vol-0123456789abcdef0"),
        ("Run", "20261122T030000Z"),
    ];
    let letters = vec![letter("5f3c1b22-0000-4000-8000-000000000000", &copy(), &attributes)];
    operations.letters.borrow_mut().insert("https://Copy-dead".into(), letters);
    let shown = with(&operations, async |context| show(context, "5f3c1b22").await.unwrap()).await;
    let text = shown.text(&Style { width: Some(80), colour: false });
    assert!(text.lines().all(|line| line.chars().count() <= 80 || line.contains('`')), "{text}");
    assert!(!text.contains("secret"), "{text}");
    crate::fake::golden("dlq-show", &shown);
}

#[tokio::test]
async fn an_id_may_be_cut_where_it_is_clear_which_is_meant() {
    let operations = operations();
    let asked = async |id: &str| with(&operations, async |context| show(context, id).await).await;
    assert_eq!(asked("bb").await.unwrap().letter.id, "bb11");
    for (id, part) in [("aa", "2 letters"), ("cc", "no letter has the id cc")] {
        let refused = asked(id).await.unwrap_err();
        assert!(matches!(&refused, Trouble::Usage(why) if why.contains(part)), "{refused}");
    }
    assert!(operations.hidden.borrow().is_empty(), "all are shown again, whatever was asked");
}

#[tokio::test]
async fn what_is_put_back_has_no_token_and_leaves_its_dead_letter_queue_afterwards() {
    let operations = operations();
    let retried = with(&operations, async |context| retry(context, &ids(&["aa11"]), 0).await.unwrap()).await;
    assert!(matches!(retried.letters[0].became, Became::Pending(_)), "{:?}", retried.letters[0].became);
    let sent = operations.sent.borrow();
    assert_eq!((sent.len(), sent[0].0.as_str()), (1, "https://Copy"));
    let message: serde_json::Value = serde_json::from_str(&sent[0].1).unwrap();
    let fields: Vec<&str> = message.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["task", "version"], "nobody waits for it, and it has a day from now on");
    assert!(operations.hidden.borrow().is_empty());
    let left: Vec<String> = operations.letters.borrow().values().flatten().map(|letter| letter.id.clone()).collect();
    assert_eq!(left, ["aa22", "bb11"]);
}

#[tokio::test]
async fn a_backup_that_a_drill_could_not_prove_is_read_anew_from_the_beginning() {
    let operations = FakeOperations::default();
    let task = json!({"run": "r", "folder": "drills/r/e", "region": "eu-west-1", "snapshot": "snap-1", "volume": "vol-1",
        "taken": "2026-11-21T03:00:00Z", "level": "probe", "volumeGib": 8, "maxBlocks": 9, "cursor": {"blocksRead": 9}});
    let body = json!({"version": 1, "task": task}).to_string();
    let attributes = [("Error", "SnapshotUnreadable"), ("Cause", "no"), ("Snapshot", "snap-1")];
    operations.letters.borrow_mut().insert("https://Verify-dead".into(), vec![letter("cc11", &body, &attributes)]);
    let retried = with(&operations, async |context| retry(context, &ids(&["cc11"]), 0).await.unwrap()).await;
    assert!(matches!(retried.letters[0].became, Became::Pending(_)), "{:?}", retried.letters[0].became);
    assert!(retried.letters[0].letter.what_to_do.contains("next drill"), "{:?}", retried.letters[0].letter);
    let sent = operations.sent.borrow();
    assert_eq!((sent.len(), sent[0].0.as_str()), (1, "https://Verify"));
    assert!(sent[0].1.contains("snap-1") && !sent[0].1.contains("cursor"), "{}", sent[0].1);
}

#[tokio::test]
async fn the_snapshots_of_a_past_night_are_not_made_today() {
    let operations = FakeOperations::default();
    let task = |run: &str| {
        let instance = json!({"instance": "i-1", "name": "web", "volumes": [{"device": "/dev/sda1", "volume": "vol-1"}],
            "retention": 7, "copyRegions": []});
        json!({"version": 1, "task": {"run": run, "instance": instance}}).to_string()
    };
    let letters = vec![letter("dd11", &task("20261121T113000Z"), &[]), letter("dd22", &task("20261122T030000Z"), &[])];
    operations.letters.borrow_mut().insert("https://Snapshot-dead".into(), letters);
    let retried = with(&operations, async |context| retry(context, &ids(&["dd11", "dd22"]), 0).await.unwrap()).await;
    let refused = |why: &str| why.contains("24 hours back") && why.contains("run --phase snapshot");
    assert!(matches!(&retried.letters[0].became, Became::Refused(why) if refused(why)), "{:?}", retried.letters[0]);
    assert!(matches!(retried.letters[1].became, Became::Pending(_)), "{:?}", retried.letters[1]);
    assert_eq!(operations.sent.borrow().len(), 1);
}

#[tokio::test]
async fn a_deletion_is_never_put_back() {
    let operations = operations();
    let retried = with(&operations, async |context| retry(context, &ids(&["bb11"]), 0).await.unwrap()).await;
    assert!(matches!(&retried.letters[0].became, Became::Refused(why) if why.contains("2026-11-21")));
    assert!(operations.sent.borrow().is_empty() && operations.hidden.borrow().is_empty());
    assert_eq!(retried.code(), Code::Owed);
}

#[tokio::test]
async fn letters_that_others_read_are_never_told_as_none() {
    let operations = operations();
    let letters = std::mem::take(&mut *operations.letters.borrow_mut());
    operations
        .hidden
        .borrow_mut()
        .extend(letters.into_iter().flat_map(|(queue, all)| all.into_iter().map(move |one| (queue.clone(), one))));
    let style = Style { width: Some(80), colour: false };
    let listed = with(&operations, async |context| list(context, None).await.unwrap()).await;
    let retried = with(&operations, async |context| retry(context, &ids(&[]), 0).await.unwrap()).await;
    let dropped = with(&operations, async |context| drop_letters(context, &ids(&[]), true).await.unwrap()).await;
    for (text, code) in [
        (listed.text(&style), listed.code()),
        (retried.text(&style), retried.code()),
        (dropped.text(&style), dropped.code()),
    ] {
        assert!(code == Code::Owed && text.contains("3 letters more") && !text.contains("no dead letters"), "{text}");
    }
    assert_eq!(operations.hidden.borrow().len(), 3, "and nothing is deleted");
}
