//! A forgetful operator: tags that are gone or mistyped take no protection away, and no run succeeds in silence.

use serde_json::{Value, json};

use crate::cloud::{Cloud, HOME, cloud, day, tagged};

/// A due backup of some days ago, and its copy in us-east-1, which is due too.
fn add_backup(cloud: &Cloud, volume: &str, created: i64) {
    let mut tags = json!({"Type": "Automated", "CreatedOn": day(created), "DeleteOn": day(created + 7)});
    let started = format!("{}T03:00:00Z", day(created));
    let source = cloud.add_snapshot(HOME, json!({"volume": volume, "startTime": started, "tags": tags}));
    let more = json!({"BackupFromRegion": HOME, "SourceSnapshotId": source, "SourceVolumeId": volume});
    tags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    cloud.add_snapshot("us-east-1", json!({"startTime": started, "tags": tags}));
}

fn days(cloud: &Cloud, region: &str) -> Vec<String> {
    let day = |snapshot: &Value| snapshot["tags"]["CreatedOn"].as_str().unwrap().to_owned();
    let mut days: Vec<String> = cloud.snapshots(region).iter().map(day).collect();
    days.sort();
    days
}

#[test]
fn an_instance_that_loses_its_tag_keeps_its_last_backups_and_no_run_succeeds_until_somebody_says_what_is_meant() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let (instance, volumes) = cloud.add_instances(HOME, &json!([tagged(json!({"Name": "db"}), 1)])).remove(0);
    for age in [12, 11, 10] {
        add_backup(&cloud, &volumes[0], -age);
    }
    let say = |word: Value| {
        cloud.control("tags", Some(&json!({"region": HOME, "id": instance, "tags": {"Backup": word}})));
    };
    for word in [json!(null), json!("true")] {
        say(word.clone());
        let ended = cloud.run(&stack, &json!({}));
        assert_eq!(ended.error, "BackupIncomplete");
        let last = cloud.snapshots(HOME).last().unwrap()["id"].as_str().unwrap().to_owned();
        for part in
            [&instance, "db", &volumes[0], &last, &day(-10).to_string(), "Backup=Yes", "Backup=No", "Backup=Hold"]
        {
            assert!(ended.cause.contains(part), "{part}: {}", ended.cause);
        }
        assert!(word.is_null() || ended.cause.contains("\"true\""), "{}", ended.cause);
        for region in [HOME, "us-east-1"] {
            assert_eq!(days(&cloud, region), [day(-10).to_string()], "what is due goes, and the last one stays");
        }
    }
    say(json!("Hold"));
    let held = cloud.run(&stack, &json!({}));
    assert_eq!(held.status, "SUCCEEDED", "{}", held.cause);
    assert_eq!((days(&cloud, HOME).len(), days(&cloud, "us-east-1").len()), (1, 1));
    say(json!("No"));
    let given_up = cloud.run(&stack, &json!({}));
    assert_eq!(given_up.status, "SUCCEEDED", "{}", given_up.cause);
    assert!(days(&cloud, HOME).is_empty() && days(&cloud, "us-east-1").is_empty());
    assert_eq!(cloud.calls("CreateSnapshots").len(), 0);
}

#[test]
fn a_mistyped_tag_is_reported_with_what_is_allowed_and_the_run_goes_on() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let untagged = |own: Value| json!({"tags": own, "volumes": [{"device": "/dev/sda1"}]});
    let ids = cloud.add_instances(
        HOME,
        &json!([
            tagged(json!({"retention": "3", "RetentionCrossRegion": "9"}), 1),
            untagged(json!({"backup": "Yes"})),
            untagged(json!({"Backup": "1"})),
            untagged(json!({"backup": "daily"})),
        ]),
    );
    let ended = cloud.run(&stack, &json!({}));
    assert_eq!(ended.status, "SUCCEEDED", "{}", ended.cause);
    let rejected = cloud.manifest(&stack, &ended, "rejected.jsonl");
    let of = |id: &str| {
        let own = rejected.iter().filter(|line| line["subject"] == id);
        own.map(|line| line["problem"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&ids[0].0).len(), 2, "{rejected:?}");
    assert_eq!(of(&ids[1].0), ["backup=\"Yes\": allowed is the key Backup, in exactly these letters"]);
    assert_eq!(of(&ids[2].0), ["Backup=\"1\": allowed is Yes, No or Hold"]);
    assert!(of(&ids[3].0).is_empty(), "another tool's");
    assert_eq!(cloud.snapshots(HOME).len(), 1);
}
