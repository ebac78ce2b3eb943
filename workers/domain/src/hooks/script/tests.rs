use proptest::prelude::*;

use super::*;
use crate::fake::{ended, exited};

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn name_of(end: &PreEnd) -> (&'static str, String) {
    match end {
        PreEnd::Frozen(_) => ("frozen", String::new()),
        PreEnd::NotFrozen(failure) => ("not", failure.name.to_string()),
        PreEnd::Perhaps(failure) => ("perhaps", failure.name.to_string()),
    }
}

#[test]
fn only_a_pre_script_that_is_known_to_have_failed_is_not_frozen() {
    for (end, frozen, name) in [
        (exited(0, "done"), "frozen", ""),
        (exited(201, "no password"), "not", "PreHookFailed"),
        (exited(202, "stuck"), "perhaps", "PreHookFailed"),
        (exited(1, ""), "not", "PreHookFailed"),
        (exited(127, ""), "not", "PreHookFailed"),
        (exited(204, ""), "not", "HookOutOfOrder"),
        (exited(206, "no server"), "not", "HookNotReady"),
        (exited(206, "the data is on the root file system"), "not", "DataOnRootVolume"),
        (exited(137, ""), "perhaps", "PreHookFailed"),
        (exited(-1, ""), "perhaps", "PreHookFailed"),
        (exited(0, "{\"version\":2}"), "perhaps", "HookNotUnderstood"),
        (ended(CommandEnd::NotDelivered, "DeliveryTimedOut"), "not", "HookAgentGone"),
        (ended(CommandEnd::NotDelivered, "AccessDenied"), "not", "AccessDenied"),
        (ended(CommandEnd::TimedOut, "ExecutionTimedOut"), "perhaps", "HookTimedOut"),
        (ended(CommandEnd::Other, "Cancelled"), "perhaps", "PreHookFailed"),
        (ended(CommandEnd::Failed, "Failed"), "perhaps", "PreHookFailed"),
    ] {
        assert_eq!(name_of(&pre_end(&end)), (frozen, name.to_owned()), "{end:?}");
    }
}

#[test]
fn a_post_script_has_thawed_only_where_it_says_so() {
    for (end, thawed, name) in [
        (exited(0, ""), true, ""),
        (exited(203, ""), true, "HookThawedEarly"),
        (exited(205, ""), true, "HookOutOfOrder"),
        (exited(0, "{}"), true, "HookNotUnderstood"),
        (exited(202, "device busy"), false, "PostHookFailed"),
        (exited(206, ""), false, "PostHookFailed"),
        (exited(1, ""), false, "PostHookFailed"),
        (ended(CommandEnd::NotDelivered, "Undeliverable"), false, "HookAgentGone"),
        (ended(CommandEnd::TimedOut, "ExecutionTimedOut"), false, "HookTimedOut"),
        (ended(CommandEnd::Other, "Cancelled"), false, "PostHookFailed"),
    ] {
        let (is_thawed, failure) = match post_end(&end) {
            PostEnd::Thawed(Ok(_)) => (true, None),
            PostEnd::Thawed(Err(failure)) | PostEnd::ThawedBefore(failure) => (true, Some(failure)),
            PostEnd::Perhaps(failure) => (false, Some(failure)),
        };
        assert_eq!(is_thawed, thawed, "{end:?}");
        assert_eq!(failure.map_or(String::new(), |failure| failure.name.to_string()), name, "{end:?}");
    }
}

#[test]
fn what_a_script_says_is_in_the_cause() {
    let told = |end: Ended| match pre_end(&end) {
        PreEnd::NotFrozen(failure) => failure.cause,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(exited(201, "one\n two \n\n")), "the pre-script failed with exit code 201: two");
    assert_eq!(
        told(exited(206, "x\n{\"version\":1,\"consistency\":\"crash\",\"reason\":\"no server\"}")),
        "the pre-script cannot freeze: no server"
    );
    assert_eq!(
        told(Ended { errors: "mysql: access denied\n".into(), ..exited(201, "begun") }),
        "the pre-script failed with exit code 201: mysql: access denied"
    );
}

#[test]
fn a_dump_is_read_with_its_file_and_one_that_cannot_be_found_again_is_not_understood() {
    let line = |dump: &str| format!("{{\"version\":1,\"consistency\":\"application\",\"dump\":{{{dump}}}}}");
    let full = format!(
        "\"at\":\"2026-11-22T03:00:05Z\",\"volume\":\"\",\"device\":\"/dev/nvme1n1\",\"path\":\"/d.gz\",\"sha256\":\"{HASH}\",\"bytes\":12"
    );
    let dump = report(&line(&full)).unwrap().unwrap().dump.unwrap();
    assert_eq!((dump.volume, dump.device.as_str(), dump.bytes), (None, "/dev/nvme1n1", 12));
    let told = full.replace("\"volume\":\"\"", "\"volume\":\"vol-1a\"");
    assert_eq!(report(&line(&told)).unwrap().unwrap().dump.unwrap().volume, Some("vol-1a".parse().unwrap()));
    for (from, to, part) in [
        (HASH, "abc", "64 hexadecimal digits"),
        ("/d.gz", "d.gz", "begins with /"),
        ("2026-11-22T03:00:05Z", "today", "input"),
        ("\"volume\":\"\"", "\"volume\":\"disk\"", "volume id"),
    ] {
        let why = report(&line(&full.replace(from, to))).unwrap_err();
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn an_output_that_was_cut_is_not_understood() {
    assert!(report(&"x\n".repeat(12_000)).unwrap_err().contains("24000 characters"));
    assert_eq!(report(&"x\n".repeat(11_999)), Ok(None));
}

proptest! {
    #[test]
    fn whatever_is_printed_is_a_report_or_none_or_not_understood(output in "\\PC{0,200}", exit in -1i32..300) {
        let end = exited(exit, &output);
        match (pre_end(&end), exit) {
            (PreEnd::Frozen(_), code) => prop_assert_eq!(code, 0),
            (PreEnd::NotFrozen(_), code) => prop_assert!((1..128).contains(&code) || [201, 203, 204, 205, 206].contains(&code)),
            (PreEnd::Perhaps(failure), code) => {
                prop_assert!(code != 0 || failure.name == ErrorName::HookNotUnderstood)
            }
        }
        let thawed = !matches!(post_end(&end), PostEnd::Perhaps(_));
        prop_assert_eq!(thawed, [0, 203, 204, 205].contains(&exit));
    }
}
