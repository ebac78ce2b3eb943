//! The state machines' definitions, the template and the code agree.

use std::{collections::BTreeSet, fs};

use domain::{claims::FUNCTION_TIMEOUT, error::ErrorName, hooks::documents::SHIPPED, report::PHASE_STATES};
use serde_json::{Value, json};

fn definition() -> (String, Value) {
    definition_of("backup")
}

/// That of the backups, and that of the drills.
const MACHINES: [&str; 2] = ["backup", "drill"];

fn definition_of(name: &str) -> (String, Value) {
    let text = fs::read_to_string(format!("statemachine/{name}.asl.json")).unwrap();
    // Substitutions for numbers have no quotes.
    let numbers =
        ["${SnapshotConcurrency}", "${CopyConcurrency}", "${DrillConcurrency}", "${PollSeconds}", "${RetrySeconds}"];
    let substituted = numbers.iter().fold(text.clone(), |text, number| text.replace(number, "1"));
    let parsed = serde_json::from_str(&substituted).expect("JSON once its numbers are substituted");
    (text, parsed)
}

/// Every machine in the definition: the whole, the processor of each Map, and the branches of each Parallel.
fn machines(machine: &Value) -> Vec<&Value> {
    let mut all = vec![machine];
    for (_, state) in states(machine) {
        let branches = state["Branches"].as_array().into_iter().flatten();
        all.extend(state.get("ItemProcessor").into_iter().chain(branches).flat_map(machines));
    }
    all
}

fn states(machine: &Value) -> impl Iterator<Item = (&String, &Value)> {
    machine["States"].as_object().unwrap().iter()
}

/// The values of a key, wherever it stands in the state itself, but not in the states of a Map's processor or a branch.
fn values<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["ItemProcessor", "Branches"].contains(&name.as_str()))
            .flat_map(|(name, inner)| if name == key { vec![inner] } else { values(inner, key) })
            .collect(),
        Value::Array(all) => all.iter().flat_map(|inner| values(inner, key)).collect(),
        _ => Vec::new(),
    }
}

fn successors(state: &Value) -> BTreeSet<&str> {
    let named = |key| values(state, key).into_iter().filter_map(Value::as_str);
    named("Next").chain(named("Default")).collect()
}

#[test]
fn every_next_state_exists_and_every_state_is_reachable() {
    for whole in MACHINES.map(|name| definition_of(name).1) {
        every_state_is_reachable(&whole);
    }
}

fn every_state_is_reachable(whole: &Value) {
    for machine in machines(whole) {
        let all: BTreeSet<&str> = states(machine).map(|(name, _)| name.as_str()).collect();
        let mut reached = BTreeSet::new();
        let mut next = vec![machine["StartAt"].as_str().unwrap()];
        while let Some(name) = next.pop() {
            assert!(all.contains(name), "{name} does not exist");
            if reached.insert(name) {
                next.extend(successors(&machine["States"][name]));
            }
        }
        assert_eq!(reached, all, "states that nothing leads to");
    }
}

#[test]
fn state_names_are_unique_in_both_definitions() {
    let wholes = MACHINES.map(|name| definition_of(name).1);
    let machines = wholes.iter().flat_map(machines);
    let names: Vec<&String> = machines.flat_map(|m| states(m).map(|(name, _)| name)).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
}

#[test]
fn every_substitution_is_given_by_the_template_and_the_reverse() {
    let template = fs::read_to_string("template.yaml").unwrap();
    for machine in MACHINES {
        let (text, _) = definition_of(machine);
        let used: BTreeSet<&str> = text.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
        let given: BTreeSet<&str> = template
            .lines()
            .skip_while(|line| line.trim() != format!("DefinitionUri: statemachine/{machine}.asl.json"))
            .skip_while(|line| line.trim() != "DefinitionSubstitutions:")
            .skip(1)
            .take_while(|line| line.starts_with("        "))
            .filter_map(|line| Some(line.trim().split_once(':')?.0))
            .collect();
        assert!(!given.is_empty());
        assert_eq!(used, given, "{machine}");
    }
}

#[test]
fn every_error_name_is_one_that_the_code_has() {
    let wholes = MACHINES.map(|name| definition_of(name).1);
    let known: BTreeSet<&str> = ErrorName::ALL.iter().map(|name| name.as_str()).collect();
    let mut seen = BTreeSet::new();
    for (_, state) in wholes.iter().flat_map(machines).flat_map(states) {
        let caught = values(state, "ErrorEquals").into_iter().flat_map(|list| list.as_array().unwrap());
        let thrown = state.get("Error").filter(|_| state["Type"] == "Fail");
        seen.extend(caught.chain(thrown).map(|name| name.as_str().unwrap()));
    }
    // Error names of Step Functions itself, and of the services that it calls.
    let foreign = ["States.", "Lambda.", "SQS."];
    for name in seen.iter().filter(|name| !foreign.iter().any(|prefix| name.starts_with(prefix))) {
        assert!(known.contains(name), "{name} is not in domain::error");
    }
    let of_ours = ["InvalidInput", "BackupIncomplete", "DrillFailed"];
    assert!(of_ours.iter().all(|name| seen.contains(name)), "{seen:?}");
}

#[test]
fn every_wait_but_for_expiry_and_thawing_ends_at_the_deadline_of_the_run() {
    let wholes = MACHINES.map(|name| definition_of(name).1);
    for whole in &wholes {
        let why = "the run's deadline, 30 hours at most, twelve for the sweep, and some";
        assert_eq!(whole["TimeoutSeconds"], 48 * 3600, "{why}");
    }
    for (name, state) in wholes.iter().flat_map(machines).flat_map(states) {
        if let Some(body) = state["Parameters"].get("MessageBody") {
            let deadline = body.get("deadline.$").and_then(Value::as_str);
            let has_none = ["Expire", "PostHook", "Thaw"].contains(&name.as_str());
            assert_eq!(deadline, (!has_none).then_some("$.deadline"), "{name}");
        }
    }
}

#[test]
fn no_more_than_four_discovers_run_at_once_and_all_regions_copy_at_once() {
    let (_, whole) = definition();
    let concurrency = |name: &str| whole["States"][name]["MaxConcurrency"].clone();
    assert_eq!([concurrency("PlanCopies"), concurrency("ExpireRegions")], [4, 4]);
    let (_, drill) = definition_of("drill");
    assert_eq!(drill["States"]["PlanDrill"]["MaxConcurrency"], 4);
    assert_eq!(concurrency("CopyToRegions"), 0, "a region that waits for others would starve each night");
    assert!(
        !states(&whole["States"]["CopyToRegions"]["ItemProcessor"])
            .any(|(_, s)| s["Resource"] == "arn:aws:states:::lambda:invoke")
    );
}

#[test]
fn the_report_takes_the_time_of_states_that_there_are() {
    let (_, whole) = definition();
    let top: BTreeSet<&str> = states(&whole).map(|(name, _)| name.as_str()).collect();
    for (name, phase) in PHASE_STATES {
        assert!(top.contains(name), "{phase:?}: {name}");
    }
}

#[test]
fn a_claim_is_taken_over_after_the_time_out_of_the_functions_that_hold_claims() {
    let template = fs::read_to_string("template.yaml").unwrap();
    for function in ["SnapshotFunction:", "CopyFunction:", "HookFunction:"] {
        let mut own = template.lines().skip_while(|line| line.trim() != function);
        let seconds = own.find_map(|line| line.trim().strip_prefix("Timeout: ")).unwrap();
        assert_eq!(seconds, FUNCTION_TIMEOUT.num_seconds().to_string(), "{function}");
    }
}

#[test]
fn every_wait_for_a_worker_has_a_time_out_and_a_heartbeat() {
    let wholes = MACHINES.map(|name| definition_of(name).1);
    let mut waits = 0;
    for (name, state) in wholes.iter().flat_map(machines).flat_map(states) {
        if state["Resource"].as_str().is_some_and(|resource| resource.ends_with(".waitForTaskToken")) {
            waits += 1;
            let (time_out, heartbeat) = match name.as_str() {
                "Expire" => (12 * 3600, 3600),
                // A script has minutes at most, and a frozen instance less: its hook thaws it by itself.
                "PreHook" | "PostHook" | "Thaw" => (3600, 900),
                "SnapshotFrozen" => (120, 60),
                // It waits behind those of all regions, which two functions read.
                "Verify" => (30 * 3600, 6 * 3600),
                // As long as the longest `RunHours`: the run's deadline comes first.
                _ => (30 * 3600, 3600),
            };
            assert_eq!(
                (&state["TimeoutSeconds"], &state["HeartbeatSeconds"]),
                (&json!(time_out), &json!(heartbeat)),
                "{name}"
            );
        }
    }
    assert_eq!(waits, 13);
}

#[test]
fn what_goes_wrong_in_a_region_of_a_drill_comes_to_its_report() {
    let (_, whole) = definition_of("drill");
    let top = &whole["States"];
    for (name, failure) in [("PlanDrill", "$.planFailure"), ("VerifyRegions", "$.verifyFailure")] {
        let caught = json!([{"ErrorEquals": ["States.ALL"], "ResultPath": failure, "Next": "ReportDrill"}]);
        assert_eq!(top[name]["Catch"], caught, "{name}");
    }
    let inner = |map: &str, state: &str| top[map]["ItemProcessor"]["States"][state]["Catch"][0].clone();
    for (map, state) in [("PlanDrill", "PlanRegion"), ("VerifyRegions", "VerifySnapshots")] {
        assert_eq!(inner(map, state)["ErrorEquals"], json!(["States.ALL"]), "{state}");
    }
    let verify = &top["VerifyRegions"]["ItemProcessor"]["States"]["VerifySnapshots"];
    assert_eq!(verify["ToleratedFailurePercentage"], 100, "one bad backup stops no other");
    let proven = json!([{"Variable": "$.report.complete", "BooleanEquals": true, "Next": "DrillSucceeded"}]);
    assert_eq!((&top["IsProven"]["Choices"], &top["IsProven"]["Default"]), (&proven, &json!("DrillFailed")));
}

/// The states of the Map over instances with a hook.
fn hooked(whole: &Value) -> &Value {
    &whole["States"]["SnapshotFleet"]["Branches"][1]["States"]["SnapshotHooked"]["ItemProcessor"]["States"]
}

#[test]
fn after_whatever_may_have_frozen_an_instance_comes_a_thaw() {
    let (_, whole) = definition();
    let states = hooked(&whole);
    for (name, to) in
        [("PreHook", "Thaw"), ("SnapshotFrozen", "Thaw"), ("PostHook", "WaitHookedComplete"), ("Thaw", "IsSkipped")]
    {
        let catch = &states[name]["Catch"];
        assert_eq!((&catch[0]["ErrorEquals"], &catch[0]["Next"]), (&json!(["States.ALL"]), &json!(to)), "{name}");
    }
    assert_eq!(states["SnapshotFrozen"]["Next"], "PostHook");
    assert_eq!(states["MayBeFrozen"]["Default"], "Thaw", "left out only where it is known that nothing is frozen");
    assert_eq!(states["MayBeFrozen"]["Choices"].as_array().unwrap().len(), 1);
    // Of a thaw that failed nothing is forgotten: it ends loudly, whatever comes in between.
    for name in ["PostHook", "Thaw"] {
        assert_eq!(states[name]["Catch"][0]["ResultPath"], "$.thawFailure", "{name}");
    }
    for name in ["SnapshotUnfrozen", "SnapshotAgain", "WaitHookedComplete"] {
        assert_eq!(states[name]["Catch"][0]["Next"], "MayStillBeFrozen", "{name}");
    }
    for name in ["MayStillBeFrozen", "IsThawed"] {
        let loud = json!([{"Variable": "$.thawFailure", "IsPresent": true, "Next": "StillFrozen"}]);
        assert_eq!(states[name]["Choices"], loud, "{name}");
    }
    assert_eq!(states["StillFrozen"]["Error"], "PostHookFailed");
}

#[test]
fn another_try_is_made_after_errors_that_the_code_has_and_three_times_at_most() {
    let (_, whole) = definition();
    let conditions = &hooked(&whole)["IsTriedAgain"]["Choices"][0]["And"];
    assert_eq!(conditions[0]["NumericLessThan"], 3);
    let names = values(&conditions[1], "StringEquals");
    // A worker that has died is a time-out of the task, or of its heartbeat.
    let time_outs = [json!("States.Timeout"), json!("States.HeartbeatTimeout")];
    let wanted = time_outs.iter().chain([&json!("SnapshotNotNow")]).all(|name| names.contains(&name));
    assert!(names.len() > 5 && wanted, "{names:?}");
    let is_known =
        |name: &&Value| time_outs.contains(name) || ErrorName::ALL.iter().any(|known| known.as_str() == **name);
    assert!(names.iter().all(is_known), "{names:?}");
}

#[test]
fn the_documents_that_the_code_allows_are_those_of_the_template_and_of_the_hook_role() {
    let template = fs::read_to_string("template.yaml").unwrap();
    let named = |before: &'static str| -> BTreeSet<String> {
        let lines = template.lines().filter_map(move |line| line.trim().strip_prefix(before));
        lines.map(|name| name.trim_start_matches("${AWS::StackName}-").to_owned()).collect()
    };
    let shipped: BTreeSet<String> = SHIPPED.iter().map(|name| (*name).to_owned()).collect();
    // The queries of the logs are named like folders.
    let is_document = |name: &String| !MACHINES.contains(&name.as_str()) && !name.contains('/');
    let documents = named("Name: !Sub ").into_iter().filter(is_document).collect();
    assert_eq!(shipped, documents);
    let arn = "- !Sub arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:document/";
    assert_eq!(shipped, named(arn));
}
