use std::ops::Deref;

use chrono::TimeDelta;
use domain::{
    contract::{Begun, Frozen, PreHooked},
    fake::{Account, ClaimFault, FakeEc2, FakeSsm, Fault, ended, exited, home},
    fleet::{Attachment, InstanceAs, SnapshotState::Completed, Tags},
    hooks::{HookDocuments, OnHookError, script::Level},
    outcome::Outcome::{Done, Fail, Later, Retry},
    policy::InstancePlan,
    ports::CommandEnd,
    settings::Settings,
    tags::tags,
};
use futures::future::join_all;
use serde_json::json;

use super::*;

const RUN: &str = "20261122T030000Z";
const EXECUTION: &str = "6f1c2a30-0000-4000-8000-000000000001";
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// An account with an SSM, and the database server `i-1` with two volumes.
struct Site {
    account: Account,
    ssm: FakeSsm,
    settings: Settings,
}

impl Deref for Site {
    type Target = FakeEc2;

    fn deref(&self) -> &FakeEc2 {
        &self.account.ec2
    }
}

fn site() -> Site {
    let account = Account::new(&["eu-west-1"], "2026-11-22T03:10:00Z".parse().unwrap());
    account.add_instance("i-1", &[("Name", "db")], &["vol-1", "vol-2"]);
    let mut settings = Settings::read(|_| None).unwrap();
    settings.hook_documents = HookDocuments::read("", Some("nightly")).unwrap();
    Site { account, ssm: FakeSsm::default(), settings }
}

fn task(script: Script) -> HookTask {
    let attached = |device: &str, volume: &str| Attachment { device: device.into(), volume: volume.parse().unwrap() };
    let hook = HookPlan { document: "nightly-mariadb".into(), timeout_seconds: 60, on_error: OnHookError::Snapshot };
    let instance = InstancePlan {
        instance: "i-1".parse().unwrap(),
        name: "db".into(),
        volumes: vec![attached("/dev/sda1", "vol-1"), attached("/dev/sdf", "vol-2")],
        excluded: vec![],
        root: None,
        retention: 7.try_into().unwrap(),
        retention_cross_region: None,
        backup_cross_region: None,
        copy_regions: vec![],
        keep_forever: None,
        hook: Some(hook.clone()),
        no_hook: None,
        volumes_as: vec![],
        instance_as: InstanceAs::default(),
    };
    let (run_id, execution_id) = (RUN.into(), EXECUTION.into());
    HookTask { script, run_id, instance, hook, execution_id, begun: None, pre: None, by_hand: false }
}

fn pre() -> HookTask {
    task(Script::Pre)
}

/// The post-script after the snapshots that this freeze has made.
fn post(site: &Site) -> HookTask {
    let own = tags([("Type", "Automated"), ("Consistency", "crash"), ("HookExecution", EXECUTION)]);
    for volume in ["vol-1", "vol-2"] {
        site.add_snapshot(&home(), Some(&volume.parse().unwrap()), Completed, own.clone());
    }
    after_snapshots(site)
}

/// The post-script after all snapshots that there are.
fn after_snapshots(site: &Site) -> HookTask {
    let snapshots = site.held(&home()).iter().map(|s| s.id.clone()).collect();
    let begun = Begun { region: home(), snapshots, started: site.now.get() };
    let pre = PreHooked { frozen: Frozen::Yes, why: None, report: None };
    HookTask { begun: Some(begun), pre: Some(pre), ..task(Script::Post) }
}

impl Site {
    async fn handled(&self, tasks: &[HookTask]) -> Vec<Outcome> {
        self.account
            .invoke(&self.settings, async |context| handle(&Hooks { context, ssm: &self.ssm }, tasks.to_vec()).await)
            .await
    }

    /// Delivers a task as often as it says, and lets the time pass that it asks for; its last outcome.
    async fn to_the_end(&self, task: &HookTask) -> Outcome {
        for _ in 0..200 {
            match self.handled(std::slice::from_ref(task)).await.remove(0) {
                Later(seconds) => self.account.pass(seconds.into()),
                Retry(_) => self.account.pass(60),
                outcome => return outcome,
            }
        }
        panic!("it never ends");
    }

    fn labels(&self) -> Tags {
        let of = |mut own: Tags| {
            own.retain(|key, _| key.starts_with("Consistency") || key.starts_with("Dump"));
            own
        };
        let held: Vec<Tags> = self.held(&home()).into_iter().map(|s| of(s.tags)).collect();
        assert!(held.iter().all(|own| *own == held[0]), "the same for the whole set: {held:?}");
        held[0].clone()
    }
}

fn frozen(outcome: &Outcome) -> (Frozen, String) {
    let Done(result) = outcome else { panic!("{outcome:?}") };
    let read: PreHooked = serde_json::from_value(result.clone()).unwrap();
    (read.frozen, read.why.map(|why| why.error).unwrap_or_default())
}

#[tokio::test]
async fn a_pre_script_is_sent_once_and_looked_at_every_two_seconds_until_it_ends() {
    let site = site();
    site.ssm.looks_running.set(2);
    for _ in 0..3 {
        assert_eq!(site.handled(&[pre()]).await, [Later(2)]);
        site.account.pass(2);
    }
    let outcome = site.handled(&[pre()]).await.remove(0);
    assert_eq!(frozen(&outcome), (Frozen::Yes, String::new()));
    let sent = site.ssm.sent.borrow();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].document.as_str(), sent[0].script), ("nightly-mariadb", "pre-script"));
    assert_eq!((sent[0].execution_id.as_str(), sent[0].timeout_seconds), (EXECUTION, 60));
    assert_eq!(site.count("DescribeSnapshots"), 1, "the run's snapshots are looked for before it is sent, and once");
}

#[tokio::test]
async fn delivered_twice_a_script_is_sent_once_also_at_the_very_same_moment() {
    for script in [Script::Pre, Script::Post] {
        let site = site();
        site.ssm.looks_running.set(5);
        assert_eq!(site.handled(&[task(script), task(script)]).await, [Later(2), Later(2)], "in one batch");
        site.handled(&[task(script)]).await;
        assert_eq!(site.ssm.scripts(), [script.as_str()]);

        let site = self::site();
        site.ssm.looks_running.set(5);
        site.account.claims.paced.set(true);
        site.ssm.paced.set(true);
        let (one, two) = ([task(script)], [task(script)]);
        let outcomes = join_all([site.handled(&one), site.handled(&two)]).await;
        assert_eq!(site.ssm.scripts(), [script.as_str()], "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| outcome[0] == Later(2)), "both follow it: {outcomes:?}");
    }
}

#[tokio::test]
async fn a_pre_script_whose_answer_was_lost_is_not_sent_again_and_counts_as_frozen() {
    let site = site();
    site.ssm.fail_next("SendCommand", Fault::AnswerLost);
    let outcome = site.handled(&[pre()]).await.remove(0);
    assert_eq!(frozen(&outcome), (Frozen::Perhaps, "SsmUnavailable".into()), "at once: it may be frozen");
    site.account.pass(1);
    site.handled(&[pre()]).await;
    assert_eq!(site.ssm.sent.borrow().len(), 1);
}

#[tokio::test]
async fn a_worker_that_is_killed_between_its_claim_and_the_command_froze_perhaps_and_thaws_for_certain() {
    for (script, sent) in [(Script::Pre, 0), (Script::Post, 1)] {
        let site = site();
        site.account.claims.paced.set(true);
        {
            let tasks = [task(script)];
            let mut killed = Box::pin(site.handled(&tasks));
            while site.account.claims.count("create") == 0 {
                assert!(futures::poll!(&mut killed).is_pending());
            }
        }
        assert_eq!(site.handled(&[task(script)]).await, [Later(2)], "it may be about to send it");
        site.account.pass(60);
        let outcome = site.handled(&[task(script)]).await.remove(0);
        assert_eq!(site.ssm.sent.borrow().len(), sent, "{script}");
        if script == Script::Pre {
            assert_eq!(frozen(&outcome).0, Frozen::Perhaps);
        }
    }
}

#[tokio::test]
async fn a_pre_script_that_was_throttled_waits_and_one_that_is_refused_says_why() {
    let site = site();
    site.ssm.fail_next("SendCommand", Fault::Refused("ThrottlingException"));
    assert!(matches!(site.handled(&[pre()]).await[0], Later(5..=7)));
    assert_eq!(site.handled(&[pre()]).await, [Later(2)], "and is sent then");
    assert_eq!(site.ssm.sent.borrow().len(), 1);
    for (code, name) in [
        ("InvalidInstanceId", "HookNotManaged"),
        ("AccessDeniedException", "AccessDenied"),
        ("InvalidDocument", "SsmRefused"),
        ("UnsupportedPlatformType", "SsmRefused"),
    ] {
        let site = self::site();
        site.ssm.fail_next("SendCommand", Fault::Refused(code));
        let outcome = site.handled(&[pre()]).await.remove(0);
        assert_eq!(frozen(&outcome), (Frozen::No, name.into()), "{code}");
    }
    let site = self::site();
    site.ssm.fail_next("SendCommand", Fault::Refused("NotSent"));
    assert!(matches!(&site.handled(&[pre()]).await[0], Retry(f) if f.name == ErrorName::SsmUnavailable));
    assert_eq!(frozen(&site.to_the_end(&pre()).await).0, Frozen::Yes);
}

#[tokio::test]
async fn looking_that_fails_is_no_end_and_never_takes_longer_than_the_script_may() {
    let site = site();
    site.handled(&[pre()]).await;
    for code in ["ThrottlingException", "InternalServerError"] {
        site.ssm.fail_next("GetCommandInvocation", Fault::Refused(code));
        assert_eq!(site.handled(&[pre()]).await, [Later(2)], "{code}");
    }
    site.ssm.fail_next("GetCommandInvocation", Fault::Refused("AccessDeniedException"));
    assert_eq!(frozen(&site.handled(&[pre()]).await[0]), (Frozen::Perhaps, "AccessDenied".into()));

    let site = self::site();
    site.ssm.hang_next(Script::Pre);
    let begun = site.now.get();
    assert_eq!(frozen(&site.to_the_end(&pre()).await), (Frozen::Perhaps, "HookTimedOut".into()));
    assert!(site.now.get() - begun <= TimeDelta::seconds(30 + 60 + 15 + 2));
}

#[tokio::test]
async fn a_document_that_is_not_allowed_is_never_sent() {
    let site = site();
    let mut asked = pre();
    asked.hook.document = "AWS-RunShellScript".into();
    assert_eq!(frozen(&site.handled(&[asked.clone()]).await[0]), (Frozen::No, "HookNotAllowed".into()));
    asked.script = Script::Post;
    assert!(matches!(&site.handled(&[asked]).await[0], Fail(f) if f.cause.contains("HookNotAllowed")));
    assert!(site.ssm.sent.borrow().is_empty());
}

#[tokio::test]
async fn nothing_is_frozen_for_a_run_whose_snapshots_are_there() {
    let site = site();
    let own = tags([("BackupRun", RUN), ("SourceInstanceId", "i-1"), ("Type", "Automated")]);
    site.add_snapshot(&home(), Some(&"vol-1".parse().unwrap()), Completed, own.clone());
    assert_eq!(site.handled(&[pre()]).await, [Later(2)], "one of two is there");
    let site = self::site();
    for volume in ["vol-1", "vol-2"] {
        site.add_snapshot(&home(), Some(&volume.parse().unwrap()), Completed, own.clone());
    }
    assert_eq!(frozen(&site.handled(&[pre()]).await[0]).0, Frozen::Needless);
    assert!(site.ssm.sent.borrow().is_empty());
}

#[tokio::test]
async fn without_the_bucket_or_ec2_nothing_is_frozen() {
    let site = site();
    site.account.claims.fail_next("stored", ClaimFault::Unavailable);
    assert_eq!(site.handled(&[pre()]).await[0], Later(2), "it may be frozen already: a minute is too long");
    site.account.claims.fail_next("create", ClaimFault::Unavailable);
    assert!(matches!(site.handled(&[pre()]).await[0], Retry(_)));
    site.fail_next("DescribeSnapshots", Fault::Refused("RequestLimitExceeded"));
    assert!(matches!(site.handled(&[pre()]).await[0], Later(10..)));
    assert!(site.ssm.sent.borrow().is_empty());
    // The command is known to nobody then: whatever it does is undone.
    site.account.claims.fail_next("replace", ClaimFault::Unavailable);
    assert_eq!(frozen(&site.handled(&[pre()]).await[0]), (Frozen::Perhaps, "StorageFailed".into()));
}

#[tokio::test]
async fn a_thaw_does_not_wait_for_the_claims() {
    for call in ["stored", "create"] {
        let site = site();
        let task = post(&site);
        site.account.claims.fail_next(call, ClaimFault::Unavailable);
        let outcomes = site.handled(std::slice::from_ref(&task)).await;
        assert!(matches!(&outcomes[0], Retry(f) if f.name == ErrorName::StorageFailed), "{call}: {outcomes:?}");
        assert_eq!(site.ssm.scripts(), ["post-script"], "{call}: it is thawed at once");
        assert_eq!(site.to_the_end(&task).await, Done(json!({})), "{call}: and followed when the claims answer");
    }
}

#[tokio::test]
async fn what_was_frozen_and_is_not_in_the_set_makes_it_crash_consistent() {
    for (more, part) in [
        (json!({"volumes": ["vol-1", "vol-2"]}), None),
        (json!({"unknownDevices": ["/dev/xvdf"]}), None),
        (json!({"volumes": ["vol-9"]}), Some("vol-9 was frozen")),
        (json!({"unknownDevices": ["/dev/nvme3n1"]}), Some("/dev/nvme3n1 was frozen")),
    ] {
        let site = site();
        let mut task = post(&site);
        let mut said = json!({"consistency": "application"});
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        task.pre.as_mut().unwrap().report = Some(serde_json::from_value(said).unwrap());
        site.to_the_end(&task).await;
        let own = site.labels();
        assert_eq!(own["Consistency"], if part.is_some() { "crash" } else { "application" }, "{more}");
        assert!(part.is_none_or(|part| own["ConsistencyReason"].contains(part)), "{own:?}");
    }
}

#[tokio::test]
async fn a_dump_on_a_disk_without_a_volume_is_not_taken_to_be_on_the_only_one() {
    let site = site();
    let mut task = post(&site);
    task.instance.volumes.truncate(1);
    let dump = json!({"at": "2026-11-22T03:09:58Z", "device": "/dev/nvme1n1", "path": "/d/all.sql.gz", "sha256": HASH});
    let said = json!({"consistency": "application", "dump": dump});
    task.pre.as_mut().unwrap().report = Some(serde_json::from_value(said).unwrap());
    site.to_the_end(&task).await;
    assert!(site.labels()["ConsistencyReason"].contains("none of the volumes"), "{:?}", site.labels());
}

#[tokio::test]
async fn what_is_put_back_by_hand_never_freezes_and_only_thaws() {
    let site = site();
    let by_hand = |task: HookTask| HookTask { by_hand: true, ..task };
    assert_eq!(frozen(&site.handled(&[by_hand(pre())]).await[0]).0, Frozen::No);
    assert!(site.ssm.sent.borrow().is_empty());
    let letter = by_hand(post(&site));
    assert_eq!(site.to_the_end(&letter).await, Done(json!({})));
    assert_eq!(site.ssm.scripts(), ["post-script"]);
    assert_eq!(site.labels(), tags([("Consistency", "crash")]), "nothing is raised by it");
}

#[tokio::test]
async fn a_post_script_that_ends_well_raises_the_snapshots() {
    let site = site();
    let task = post(&site);
    assert_eq!(site.to_the_end(&task).await, Done(json!({})));
    assert_eq!(site.labels(), tags([("Consistency", "application")]));
    assert_eq!(site.handled(&[task]).await, [Done(json!({}))], "delivered twice");
    assert_eq!((site.count("CreateTags"), site.ssm.sent.borrow().len()), (1, 1));
}

#[tokio::test]
async fn the_dump_of_a_pre_script_is_on_the_snapshots_so_that_it_can_be_found_in_them() {
    let dump = |volume: &str, device: &str| {
        let dump = json!({"at": "2026-11-22T03:09:58Z", "volume": volume, "device": device, "path": "/d/all.sql.gz",
            "sha256": HASH, "bytes": 12});
        serde_json::from_value(json!({"consistency": "application", "dump": dump})).unwrap()
    };
    for (volume, device, found) in
        [("vol-2", "/dev/nvme1n1", "vol-2"), ("", "/dev/xvdf", "vol-2"), ("", "/dev/sda1", "vol-1")]
    {
        let site = site();
        let mut task = post(&site);
        task.pre.as_mut().unwrap().report = Some(dump(volume, device));
        site.to_the_end(&task).await;
        let own = [
            ("Consistency", "application"),
            ("DumpAt", "2026-11-22T03:09:58Z"),
            ("DumpPath", "/d/all.sql.gz"),
            ("DumpSha256", HASH),
            ("DumpVolume", found),
        ];
        assert_eq!(site.labels(), tags(own), "{volume} {device}");
    }
    for (volume, device, part) in
        [("vol-3", "", "vol-3, which is not snapshotted"), ("", "/dev/nvme1n1", "none of the volumes")]
    {
        let site = site();
        let mut task = post(&site);
        task.pre.as_mut().unwrap().report = Some(dump(volume, device));
        site.to_the_end(&task).await;
        let own = site.labels();
        assert!(own["Consistency"] == "crash" && own["ConsistencyReason"].contains(part), "{own:?}");
        assert_eq!(own.len(), 2);
    }
}

#[tokio::test]
async fn what_is_less_than_asked_for_says_why() {
    let crash = "{\"version\":1,\"consistency\":\"crash\",\"reason\":\"no server runs\"}";
    for (end, part) in [
        (exited(203, ""), "HookThawedEarly"),
        (exited(205, ""), "HookOutOfOrder"),
        (exited(0, "{\"version\":7}"), "HookNotUnderstood"),
        (exited(0, crash), "no server runs"),
    ] {
        let site = site();
        site.ssm.end_next(Script::Post, end);
        assert_eq!(site.to_the_end(&post(&site)).await, Done(json!({})), "it is thawed: no failure");
        let own = site.labels();
        assert!(own["Consistency"] == "crash" && own["ConsistencyReason"].contains(part), "{own:?}");
    }
    let site = site();
    let mut task = post(&site);
    let said = domain::hooks::script::report(crash).unwrap();
    assert_eq!(said.as_ref().unwrap().consistency, Level::Crash);
    task.pre.as_mut().unwrap().report = said;
    site.to_the_end(&task).await;
    assert_eq!(site.labels()["ConsistencyReason"], "no server runs", "of the pre-script, as well");
}

#[tokio::test]
async fn snapshots_that_were_not_begun_in_this_freeze_are_never_raised() {
    let site = site();
    let mut task = post(&site);
    site.change(|snapshot| {
        if snapshot.volume == Some("vol-2".parse().unwrap()) {
            snapshot.tags.insert("HookExecution".into(), "another".into());
        }
    });
    task.begun = after_snapshots(&site).begun;
    site.to_the_end(&task).await;
    assert!(site.labels()["ConsistencyReason"].contains("not all of the set"));
}

#[tokio::test]
async fn snapshots_that_ec2_does_not_show_yet_are_labelled_when_it_does() {
    let site = site();
    let task = post(&site);
    site.describe_lag.set(TimeDelta::seconds(30));
    assert_eq!(site.to_the_end(&task).await, Done(json!({})));
    assert_eq!(site.labels(), tags([("Consistency", "application")]));
    assert_eq!(site.ssm.sent.borrow().len(), 1, "it was thawed long before");
}

#[tokio::test]
async fn a_post_script_that_fails_is_tried_three_times_and_then_it_is_said_loudly() {
    let site = site();
    for _ in 0..3 {
        site.ssm.end_next(Script::Post, exited(202, "device busy"));
    }
    let task = post(&site);
    let Fail(failure) = site.to_the_end(&task).await else { panic!("it fails") };
    assert_eq!(failure.name, ErrorName::PostHookFailed);
    assert!(failure.cause.contains("i-1 may still be frozen") && failure.cause.contains("device busy"), "{failure}");
    assert_eq!(site.ssm.scripts(), ["post-script"; 3]);
    let own = site.labels();
    assert!(own["Consistency"] == "crash" && own["ConsistencyReason"].starts_with("PostHookFailed"), "{own:?}");

    let letter = HookTask { by_hand: true, ..task };
    assert_eq!(site.to_the_end(&letter).await, Done(json!({})), "put back by hand it is tried again");
    assert_eq!(site.ssm.scripts(), ["post-script"; 4]);
}

#[tokio::test]
async fn a_post_script_that_thaws_at_the_second_try_leaves_a_crash_consistent_set() {
    let site = site();
    site.ssm.end_next(Script::Post, ended(CommandEnd::TimedOut, "ExecutionTimedOut"));
    assert_eq!(site.to_the_end(&post(&site)).await, Done(json!({})));
    assert!(site.labels()["ConsistencyReason"].contains("needed 2 commands"));
}

#[tokio::test]
async fn a_thaw_goes_on_where_ssm_does_not_answer_and_gives_up_only_after_two_minutes() {
    let site = site();
    for fault in [Fault::Refused("NotSent"), Fault::AnswerLost, Fault::Refused("InvalidInstanceId")] {
        site.ssm.fail_next("SendCommand", fault);
    }
    assert_eq!(site.to_the_end(&post(&site)).await, Done(json!({})));

    let site = self::site();
    let begun = site.now.get();
    for _ in 0..20 {
        site.ssm.fail_next("SendCommand", Fault::Refused("NotSent"));
    }
    assert!(matches!(&site.to_the_end(&post(&site)).await, Fail(f) if f.name == ErrorName::PostHookFailed));
    let took = (site.now.get() - begun).num_seconds();
    assert!((100..130).contains(&took), "{took}");
}

#[tokio::test]
async fn a_set_that_cannot_be_labelled_stays_crash_consistent_and_is_no_failure() {
    let site = site();
    site.fail_next("CreateTags", Fault::Refused("RequestLimitExceeded"));
    site.fail_next("CreateTags", Fault::Refused("UnauthorizedOperation"));
    let task = post(&site);
    assert_eq!(site.to_the_end(&task).await, Done(json!({})), "throttled, then refused");
    assert_eq!(site.labels(), tags([("Consistency", "crash")]));
}

#[tokio::test]
async fn a_batch_of_many_instances_is_sent_whole_and_one_that_fails_leaves_the_others_alone() {
    let site = site();
    let tasks: Vec<HookTask> = (1..=10)
        .map(|i| {
            let mut task = pre();
            task.instance.instance = format!("i-{i}").parse().unwrap();
            task
        })
        .collect();
    site.ssm.fail_next("SendCommand", Fault::Refused("InvalidInstanceId"));
    let outcomes = site.handled(&tasks).await;
    assert_eq!(outcomes.iter().filter(|o| **o == Later(2)).count(), 9, "{outcomes:?}");
    assert_eq!(site.ssm.sent.borrow().len(), 9);
}
