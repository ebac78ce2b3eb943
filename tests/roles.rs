//! The functions' deployed roles allow the calls of the workers, and none that must never happen.

use serde_json::{Value, json};

use crate::cloud::{DRILLED, HOME, cloud, decisions, enforce};

/// Action, resource, context, whether it is allowed.
type Case = (&'static str, &'static str, Value, bool);

const SNAPSHOT: &str = "arn:aws:ec2:eu-west-1::snapshot/snap-0a";
const ELSEWHERE: &str = "arn:aws:ec2:us-east-1::snapshot/snap-0a";
/// The copy in a CopySnapshot has no id yet: its ARN ends in a literal `${*}`.
const NEW_COPY: &str = "arn:aws:ec2:us-east-1::snapshot/${*}";

fn judge(role: &str, cases: &[Case]) {
    judge_in(HOME, role, cases);
}

fn judge_in(region: &str, role: &str, cases: &[Case]) {
    let mut cloud = cloud();
    let stack = cloud.stack(region);
    let asked: Vec<Value> = cases
        .iter()
        .map(|(action, resource, context, _)| json!({"action": action, "resource": resource, "context": context}))
        .collect();
    let decisions = cloud.simulate(&stack, role, &json!(asked));
    for (decision, (action, resource, context, allowed)) in decisions.iter().zip(cases) {
        assert_eq!(decision == "Allow", *allowed, "{role}: {action} on {resource} with {context}: {decision}");
    }
    assert_eq!(decisions.len(), cases.len());
}

#[test]
fn expire_deletes_only_what_is_automated_and_not_kept_for_ever() {
    let ours = || json!({"aws:ResourceTag/Type": "Automated"});
    judge(
        "ExpireRole",
        &[
            ("ec2:DeleteSnapshot", SNAPSHOT, ours(), true),
            ("ec2:DeleteSnapshot", ELSEWHERE, ours(), true),
            ("ec2:DeleteSnapshot", SNAPSHOT, json!({}), false),
            ("ec2:DeleteSnapshot", SNAPSHOT, json!({"aws:ResourceTag/Type": "Manual"}), false),
            (
                "ec2:DeleteSnapshot",
                SNAPSHOT,
                json!({"aws:ResourceTag/Type": "Automated", "aws:ResourceTag/KeepForever": ""}),
                false,
            ),
            // Before it deletes a snapshot it reads it again, and its volume.
            ("ec2:DescribeSnapshots", "*", json!({}), true),
            ("ec2:DescribeInstances", "*", json!({}), true),
            ("ec2:DescribeVolumes", "*", json!({}), true),
            ("ec2:CopySnapshot", NEW_COPY, json!({"aws:RequestTag/Type": "Automated"}), false),
            ("ec2:CreateTags", SNAPSHOT, ours(), false),
            ("ec2:DeleteVolume", "arn:aws:ec2:eu-west-1:000000000000:volume/vol-0a", json!({}), false),
        ],
    );
}

#[test]
fn snapshot_creates_only_what_is_labelled_and_only_of_tagged_instances() {
    let instance = "arn:aws:ec2:eu-west-1:000000000000:instance/i-0a";
    let labelled = || json!({"aws:RequestTag/Type": "Automated"});
    judge(
        "SnapshotRole",
        &[
            ("ec2:CreateSnapshots", instance, json!({"aws:ResourceTag/Backup": "Yes"}), true),
            ("ec2:CreateSnapshots", instance, json!({}), false),
            ("ec2:CreateSnapshots", "arn:aws:ec2:eu-west-1:000000000000:volume/vol-0a", json!({}), true),
            ("ec2:CreateSnapshots", SNAPSHOT, labelled(), true),
            ("ec2:CreateSnapshots", SNAPSHOT, json!({}), false),
            ("ec2:CreateSnapshot", SNAPSHOT, labelled(), true),
            ("ec2:CreateTags", SNAPSHOT, json!({"ec2:CreateAction": "CreateSnapshots"}), true),
            ("ec2:CreateTags", SNAPSHOT, json!({}), false),
            ("ec2:DeleteSnapshot", SNAPSHOT, json!({"aws:ResourceTag/Type": "Automated"}), false),
        ],
    );
}

#[test]
fn hook_runs_only_allowed_documents_on_tagged_instances_and_writes_only_how_consistent_a_snapshot_is() {
    let document =
        |name: &str| -> &'static str { format!("arn:aws:ssm:eu-west-1:000000000000:document/{name}").leak() };
    let instance = "arn:aws:ec2:eu-west-1:000000000000:instance/i-0a";
    let tagged = |value: &str| json!({"ssm:resourceTag/Backup": value});
    let labels = |keys: Value, own: &str| json!({"aws:ResourceTag/Type": own, "aws:TagKeys": keys});
    judge(
        "HookRole",
        &[
            ("ssm:SendCommand", document("ebs-snapshots-eu-west-1-mariadb"), json!({}), true),
            ("ssm:SendCommand", document("ebs-snapshots-eu-west-1-filesystem"), json!({}), true),
            ("ssm:SendCommand", "arn:aws:ssm:eu-west-1:123456789012:document/story-hook", json!({}), true),
            ("ssm:SendCommand", document("ebs-snapshots-us-east-1-mariadb"), json!({}), false),
            ("ssm:SendCommand", document("mariadb"), json!({}), false),
            ("ssm:SendCommand", "arn:aws:ssm:eu-west-1::document/AWS-RunShellScript", json!({}), false),
            ("ssm:SendCommand", instance, tagged("Yes"), true),
            ("ssm:SendCommand", instance, tagged("yes"), true),
            ("ssm:SendCommand", instance, tagged("YES"), true),
            ("ssm:SendCommand", instance, tagged("No"), false),
            ("ssm:SendCommand", instance, json!({}), false),
            ("ssm:SendCommand", "arn:aws:ssm:eu-west-1:000000000000:managed-instance/mi-0a", tagged("Yes"), false),
            ("ssm:GetCommandInvocation", "*", json!({}), true),
            ("ssm:CancelCommand", "*", json!({}), false),
            ("ssm:GetParameter", "arn:aws:ssm:eu-west-1:000000000000:parameter/a", json!({}), false),
            ("ssm:StartSession", instance, tagged("Yes"), false),
            ("ec2:DescribeSnapshots", "*", json!({}), true),
            ("ec2:CreateTags", SNAPSHOT, labels(json!(["Consistency", "ConsistencyReason"]), "Automated"), true),
            ("ec2:CreateTags", SNAPSHOT, labels(json!(["Consistency", "DumpAt", "DumpSha256"]), "Automated"), true),
            ("ec2:CreateTags", SNAPSHOT, labels(json!(["Consistency", "DeleteOn"]), "Automated"), false),
            ("ec2:CreateTags", SNAPSHOT, labels(json!(["KeepForever"]), "Automated"), false),
            ("ec2:CreateTags", SNAPSHOT, labels(json!(["Consistency"]), "Manual"), false),
            ("ec2:CreateSnapshots", instance, json!({"aws:ResourceTag/Backup": "Yes"}), false),
            ("ec2:DeleteSnapshot", SNAPSHOT, json!({"aws:ResourceTag/Type": "Automated"}), false),
        ],
    );
}

#[test]
fn verify_reads_only_snapshots_of_ours_and_writes_only_its_two_tags() {
    let ours = || json!({"aws:ResourceTag/Type": "Automated"});
    let labels = |keys: Value, own: &str| json!({"aws:ResourceTag/Type": own, "aws:TagKeys": keys});
    let key = "arn:aws:kms:us-east-1:000000000000:key/a";
    judge_in(
        DRILLED,
        "VerifyRole",
        &[
            ("ebs:ListSnapshotBlocks", SNAPSHOT, ours(), true),
            ("ebs:GetSnapshotBlock", SNAPSHOT, ours(), true),
            ("ebs:GetSnapshotBlock", ELSEWHERE, ours(), true),
            ("ebs:GetSnapshotBlock", SNAPSHOT, json!({}), false),
            ("ebs:ListSnapshotBlocks", SNAPSHOT, json!({"aws:ResourceTag/Type": "Manual"}), false),
            ("ebs:ListChangedBlocks", SNAPSHOT, ours(), false),
            ("ebs:PutSnapshotBlock", SNAPSHOT, ours(), false),
            ("ebs:StartSnapshot", SNAPSHOT, ours(), false),
            ("kms:Decrypt", key, json!({"kms:ViaService": "ec2.us-east-1.amazonaws.com"}), true),
            ("kms:Decrypt", key, json!({"kms:ViaService": "s3.us-east-1.amazonaws.com"}), false),
            ("kms:Decrypt", key, json!({}), false),
            ("kms:GenerateDataKey", key, json!({"kms:ViaService": "ec2.us-east-1.amazonaws.com"}), false),
            ("ec2:CreateTags", ELSEWHERE, labels(json!(["VerifiedOn", "VerifiedAs"]), "Automated"), true),
            ("ec2:CreateTags", ELSEWHERE, labels(json!(["VerifiedOn", "DeleteOn"]), "Automated"), false),
            ("ec2:CreateTags", ELSEWHERE, labels(json!(["KeepForever"]), "Automated"), false),
            ("ec2:CreateTags", ELSEWHERE, labels(json!(["VerifiedAs"]), "Manual"), false),
            ("ec2:DeleteSnapshot", SNAPSHOT, ours(), false),
            ("ec2:CreateVolume", "arn:aws:ec2:eu-west-1:000000000000:volume/vol-0a", json!({}), false),
            ("ec2:CopySnapshot", NEW_COPY, json!({"aws:RequestTag/Type": "Automated"}), false),
            ("ec2:ModifySnapshotAttribute", SNAPSHOT, ours(), false),
            ("ec2:DescribeSnapshots", "*", json!({}), true),
        ],
    );
}

#[test]
fn copy_makes_labelled_copies_and_sets_nothing_but_keep_forever() {
    let retag = |keys: Value, own: &str| json!({"aws:ResourceTag/Type": own, "aws:TagKeys": keys});
    judge(
        "CopyRole",
        &[
            ("ec2:CopySnapshot", SNAPSHOT, json!({}), true),
            ("ec2:CopySnapshot", NEW_COPY, json!({"aws:RequestTag/Type": "Automated"}), true),
            ("ec2:CopySnapshot", NEW_COPY, json!({}), false),
            ("ec2:CreateTags", NEW_COPY, json!({"ec2:CreateAction": "CopySnapshot"}), true),
            ("ec2:CreateTags", ELSEWHERE, retag(json!(["KeepForever"]), "Automated"), true),
            ("ec2:CreateTags", ELSEWHERE, retag(json!(["KeepForever", "DeleteOn"]), "Automated"), false),
            ("ec2:CreateTags", ELSEWHERE, retag(json!(["DeleteOn"]), "Automated"), false),
            ("ec2:CreateTags", ELSEWHERE, retag(json!(["KeepForever"]), "Manual"), false),
            ("ec2:DeleteSnapshot", ELSEWHERE, json!({"aws:ResourceTag/Type": "Automated"}), false),
            (
                "kms:Decrypt",
                "arn:aws:kms:us-east-1:000000000000:key/a",
                json!({"kms:ViaService": "ec2.us-east-1.amazonaws.com"}),
                true,
            ),
            ("kms:Decrypt", "arn:aws:kms:us-east-1:000000000000:key/a", json!({}), false),
        ],
    );
}

#[test]
fn those_that_only_look_change_nothing() {
    for role in ["DiscoverRole", "WaitCompleteRole", "ReportRole"] {
        judge(
            role,
            &[
                ("ec2:DescribeSnapshots", "*", json!({}), true),
                ("ec2:DeleteSnapshot", SNAPSHOT, json!({"aws:ResourceTag/Type": "Automated"}), false),
                ("ec2:CreateTags", SNAPSHOT, json!({"aws:ResourceTag/Type": "Automated"}), false),
                ("ec2:CopySnapshot", SNAPSHOT, json!({}), false),
            ],
        );
    }
}

#[test]
fn the_report_reads_how_long_the_phases_of_its_own_machine_were() {
    const OWN: &str = "arn:aws:states:eu-west-1:000000000000:execution:ebs-snapshots-eu-west-1-backup:e1";
    const OTHER: &str = "arn:aws:states:eu-west-1:000000000000:execution:web:e1";
    let action = "states:GetExecutionHistory";
    judge("ReportRole", &[(action, OWN, json!({}), true), (action, OTHER, json!({}), false)]);
    judge("DiscoverRole", &[(action, OWN, json!({}), false)]);
}

#[test]
fn each_role_reaches_its_own_queues_and_objects_and_nothing_else_of_the_system() {
    let queue = |name: &str| json!({"QueueUrl": format!("{{{name}}}")});
    let message = |name: &str| json!({"QueueUrl": format!("{{{name}}}"), "MessageBody": "none"});
    let receipt = |name: &str| json!({"QueueUrl": format!("{{{name}}}"), "ReceiptHandle": "none"});
    let at = |key: &str| json!({"Bucket": "{ReportBucket}", "Key": key});
    let object = || at("runs/a/b/report.json");
    let cases = [
        ("ExpireRole", "sqs", "receive_message", queue("ExpireQueue"), "ok"),
        // There is no such receipt, and SQS may say so.
        ("ExpireRole", "sqs", "delete_message", receipt("ExpireQueue"), "ReceiptHandleIsInvalid"),
        ("ExpireRole", "sqs", "send_message", message("ExpireQueue"), "ok"),
        ("ExpireRole", "sqs", "send_message", message("ExpireDeadLetterQueue"), "ok"),
        ("ExpireRole", "sqs", "purge_queue", queue("ExpireQueue"), "AccessDenied"),
        ("ExpireRole", "sqs", "receive_message", queue("ExpireDeadLetterQueue"), "AccessDenied"),
        ("ExpireRole", "sqs", "receive_message", queue("CopyQueue"), "AccessDenied"),
        ("ExpireRole", "sqs", "delete_message", receipt("CopyQueue"), "AccessDenied"),
        ("ExpireRole", "sqs", "send_message", message("CopyQueue"), "AccessDenied"),
        ("ExpireRole", "s3", "put_object", object(), "AccessDenied"),
        ("ExpireRole", "s3", "get_object", object(), "AccessDenied"),
        ("ExpireRole", "s3", "delete_object", object(), "AccessDenied"),
        ("ExpireRole", "lambda", "invoke", json!({"FunctionName": "{CopyFunction}"}), "AccessDeniedException"),
        (
            "ExpireRole",
            "stepfunctions",
            "start_execution",
            json!({"stateMachineArn": "{BackupStateMachine}"}),
            "AccessDeniedException",
        ),
        // Another role may write to the same bucket: so the role decides.
        ("DiscoverRole", "s3", "put_object", object(), "ok"),
        ("DiscoverRole", "s3", "get_object", object(), "ok"),
        ("DiscoverRole", "s3", "delete_object", object(), "AccessDenied"),
        ("ReportRole", "s3", "get_object", object(), "ok"),
        ("CopyRole", "s3", "get_object", object(), "AccessDenied"),
        // A role that may read may also list: only then is a missing object a 404.
        ("DiscoverRole", "s3", "get_object", at("runs/missing"), "NoSuchKey"),
        ("ReportRole", "s3", "get_object", at("runs/missing"), "NoSuchKey"),
        // Only the report moves the pointer to the last one.
        ("ReportRole", "s3", "put_object", at("latest.json"), "ok"),
        ("ReportRole", "s3", "get_object", at("latest.json"), "ok"),
        ("ReportRole", "s3", "delete_object", at("latest.json"), "AccessDenied"),
        ("ReportRole", "s3", "put_object", at("latest.json.txt"), "AccessDenied"),
        ("DiscoverRole", "s3", "put_object", at("latest.json"), "AccessDenied"),
        ("SnapshotRole", "s3", "get_object", at("claims/missing"), "NoSuchKey"),
        ("CopyRole", "s3", "get_object", at("claims/missing"), "NoSuchKey"),
        // The workers that make something write claims; the bucket deletes claims by itself.
        ("DiscoverRole", "s3", "put_object", at("claims/a"), "ok"),
        ("SnapshotRole", "s3", "put_object", at("claims/a"), "ok"),
        ("CopyRole", "s3", "put_object", at("claims/a"), "ok"),
        ("CopyRole", "s3", "get_object", at("claims/a"), "ok"),
        ("CopyRole", "s3", "delete_object", at("claims/a"), "AccessDenied"),
        ("HookRole", "s3", "put_object", at("claims/hook/a"), "ok"),
        ("HookRole", "s3", "put_object", at("claims/a"), "AccessDenied"),
        ("HookRole", "s3", "get_object", at("claims/hook/missing"), "NoSuchKey"),
        ("HookRole", "s3", "get_object", object(), "AccessDenied"),
        ("HookRole", "sqs", "receive_message", queue("HookQueue"), "ok"),
        ("HookRole", "sqs", "send_message", message("HookDeadLetterQueue"), "ok"),
        ("HookRole", "sqs", "send_message", message("SnapshotQueue"), "AccessDenied"),
        ("SnapshotRole", "sqs", "send_message", message("HookQueue"), "AccessDenied"),
        ("ExpireRole", "s3", "put_object", at("claims/a"), "AccessDenied"),
        ("WaitCompleteRole", "s3", "get_object", at("claims/a"), "AccessDenied"),
        // Only discover writes and removes holds.
        ("DiscoverRole", "s3", "put_object", at("holds/a"), "ok"),
        ("ReportRole", "s3", "get_object", at("holds/a"), "AccessDenied"),
        ("ReportRole", "s3", "delete_object", at("holds/a"), "AccessDenied"),
        ("SnapshotRole", "s3", "put_object", at("holds/a"), "AccessDenied"),
        ("CopyRole", "s3", "put_object", at("holds/a"), "AccessDenied"),
        ("ExpireRole", "s3", "delete_object", at("holds/a"), "AccessDenied"),
        ("DiscoverRole", "s3", "delete_object", at("holds/a"), "ok"),
        ("DiscoverRole", "sqs", "receive_message", queue("ExpireQueue"), "AccessDenied"),
    ];
    let requests = cases.iter().map(|(role, service, call, parameters, _)| {
        json!({"role": role, "service": service, "call": call, "parameters": parameters})
    });
    let answers = enforce(&requests.collect());
    for (answer, (role, service, call, parameters, expected)) in answers.iter().zip(&cases) {
        assert_eq!(answer, expected, "{role}: {service} {call} {parameters}");
    }
    assert_eq!(answers.len(), cases.len());
}

#[test]
fn the_policies_for_people_allow_what_the_command_line_does_and_nothing_more() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let machine = stack.output("StateMachineArn").to_owned();
    let execution = format!("{}:e1", machine.replace(":stateMachine:", ":execution:"));
    let map_run = format!("{}/Copies:m1", machine.replace(":stateMachine:", ":mapRun:"));
    let bucket = |key: &str| format!("arn:aws:s3:::{}/{key}", stack.output("ReportBucketName"));
    let (letters, queue) = (stack.output("CopyDeadLetterQueueArn"), stack.output("CopyQueueArn"));
    let expire_queue = stack.output("ExpireQueueArn");
    let named = |name: &str| format!("arn:aws:cloudformation:eu-west-1:000000000000:stack/{name}/1");
    let (own_stack, other) = (named("ebs-snapshots-eu-west-1"), named("web"));
    // Action, resource, whether the reader's allows it, whether the operator's does.
    let cases: Vec<(&str, String, bool, bool)> = vec![
        ("cloudformation:DescribeStacks", own_stack.clone(), true, false),
        ("cloudformation:DescribeStacks", other, false, false),
        ("cloudformation:UpdateStack", own_stack, false, false),
        ("ec2:DescribeSnapshots", "*".into(), true, false),
        ("ec2:DescribeInstances", "*".into(), true, false),
        ("ec2:DescribeVolumes", "*".into(), true, false),
        ("ec2:DescribeRegions", "*".into(), true, false),
        ("ec2:DescribeImages", "*".into(), true, false),
        ("ec2:DescribeLockedSnapshots", "*".into(), true, false),
        ("ec2:CreateTags", SNAPSHOT.into(), false, false),
        ("ec2:DeleteSnapshot", SNAPSHOT.into(), false, false),
        ("s3:GetObject", bucket("runs/a/b/report.json"), true, false),
        ("s3:GetObject", bucket("holds/eu-west-1"), true, false),
        ("s3:GetObject", bucket("latest.json"), true, false),
        ("s3:GetObject", bucket("claims/a"), false, false),
        ("s3:PutObject", bucket("runs/a"), false, false),
        ("s3:DeleteObject", bucket("holds/eu-west-1"), false, false),
        ("states:ListExecutions", machine.clone(), true, false),
        ("states:DescribeExecution", execution.clone(), true, false),
        ("states:GetExecutionHistory", execution.clone(), true, false),
        ("states:ListMapRuns", execution.clone(), true, false),
        ("states:DescribeMapRun", map_run, true, false),
        ("states:StartExecution", machine.clone(), false, true),
        ("states:StopExecution", execution, false, false),
        ("states:UpdateStateMachine", machine, false, false),
        ("sqs:ReceiveMessage", letters.into(), true, false),
        ("sqs:ChangeMessageVisibility", letters.into(), true, false),
        ("sqs:GetQueueAttributes", letters.into(), true, false),
        ("sqs:DeleteMessage", letters.into(), false, true),
        ("sqs:PurgeQueue", letters.into(), false, false),
        ("sqs:SendMessage", queue.into(), false, true),
        ("sqs:ReceiveMessage", queue.into(), false, false),
        ("sqs:DeleteMessage", queue.into(), false, false),
        ("sqs:SendMessage", expire_queue.into(), false, false),
    ];
    let asked: Vec<Value> = cases
        .iter()
        .map(|(action, resource, ..)| json!({"action": action, "resource": resource, "context": {}}))
        .collect();
    let readers = cloud.simulate_policy(&stack, "ReaderPolicyArn", &json!(asked));
    let operators = cloud.simulate_policy(&stack, "OperatorPolicyArn", &json!(asked));
    assert_eq!((readers.len(), operators.len()), (cases.len(), cases.len()));
    for ((reader, operator), (action, resource, reads, operates)) in readers.iter().zip(&operators).zip(&cases) {
        assert_eq!((reader == "Allow", operator == "Allow"), (*reads, *operates), "{action} on {resource}");
    }
}

const VOLUME: &str = "arn:aws:ec2:us-east-1:000000000000:volume/vol-0a";
const INSTANCE: &str = "arn:aws:ec2:us-east-1:000000000000:instance/i-0a";
/// An image that is about to be registered has no id yet.
const IMAGE: &str = "arn:aws:ec2:us-east-1::image/*";
const ROOT_TASK: &str = "arn:aws:ec2:us-east-1:000000000000:replace-root-volume-task/*";
const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/a";

#[test]
fn the_policy_for_restores_makes_and_attaches_only_what_names_its_plan_and_deletes_nothing() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    let planned = || json!({"aws:RequestTag/RestorePlan": "p-1"});
    let restored = |keys: Value| json!({"aws:ResourceTag/RestorePlan": "p-1", "aws:TagKeys": keys});
    let hold = |value: &str, keys: Value| json!({"aws:RequestTag/Backup": value, "aws:TagKeys": keys});
    let through = |service: &str| json!({"kms:ViaService": service, "kms:GrantIsForAWSResource": "true"});
    let ec2 = || through("ec2.us-east-1.amazonaws.com");
    let cases: Vec<Case> = vec![
        ("ec2:DescribeSnapshots", "*", json!({}), true),
        ("ec2:DescribeVolumeStatus", "*", json!({}), true),
        ("ec2:DescribeReplaceRootVolumeTasks", "*", json!({}), true),
        // A volume without the plan's id would be made a second time by the next try.
        ("ec2:CreateVolume", VOLUME, planned(), true),
        ("ec2:CreateVolume", VOLUME, json!({}), false),
        ("ec2:CreateVolume", ELSEWHERE, json!({}), true),
        ("ec2:RegisterImage", IMAGE, planned(), true),
        ("ec2:RegisterImage", IMAGE, json!({}), false),
        ("ec2:RegisterImage", ELSEWHERE, json!({}), true),
        ("ec2:CreateReplaceRootVolumeTask", ROOT_TASK, planned(), true),
        ("ec2:CreateReplaceRootVolumeTask", ROOT_TASK, json!({}), false),
        ("ec2:CreateReplaceRootVolumeTask", INSTANCE, json!({}), true),
        ("ec2:CreateReplaceRootVolumeTask", VOLUME, json!({}), true),
        ("ec2:CreateReplaceRootVolumeTask", ELSEWHERE, json!({}), true),
        ("ec2:CreateTags", VOLUME, json!({"ec2:CreateAction": "CreateVolume"}), true),
        ("ec2:CreateTags", IMAGE, json!({"ec2:CreateAction": "RegisterImage"}), true),
        ("ec2:CreateTags", ROOT_TASK, json!({"ec2:CreateAction": "CreateReplaceRootVolumeTask"}), true),
        ("ec2:CreateTags", VOLUME, json!({"ec2:CreateAction": "RunInstances"}), false),
        ("ec2:CreateTags", VOLUME, restored(json!(["RestoredAt"])), true),
        ("ec2:CreateTags", VOLUME, restored(json!(["InstanceWas"])), true),
        ("ec2:CreateTags", VOLUME, restored(json!(["RestoredAt", "Name"])), false),
        ("ec2:CreateTags", VOLUME, json!({"aws:TagKeys": ["RestoredAt"]}), false),
        ("ec2:CreateTags", VOLUME, hold("Hold", json!(["Backup"])), true),
        ("ec2:CreateTags", VOLUME, hold("Hold", json!(["Backup", "ReplacedBy"])), true),
        ("ec2:CreateTags", VOLUME, hold("No", json!(["Backup"])), false),
        ("ec2:CreateTags", VOLUME, hold("Hold", json!(["Backup", "Name"])), false),
        ("ec2:CreateTags", INSTANCE, hold("Hold", json!(["Backup"])), false),
        // Tags of snapshots decide what expires.
        ("ec2:CreateTags", SNAPSHOT, hold("Hold", json!(["Backup"])), false),
        ("ec2:CreateTags", SNAPSHOT, restored(json!(["RestoredAt"])), false),
        ("ec2:AttachVolume", VOLUME, restored(json!([])), true),
        ("ec2:AttachVolume", VOLUME, json!({}), false),
        ("ec2:AttachVolume", INSTANCE, json!({}), true),
        ("ec2:DetachVolume", VOLUME, json!({}), true),
        ("ec2:DetachVolume", INSTANCE, json!({}), true),
        ("ec2:StopInstances", INSTANCE, json!({}), true),
        ("ec2:StartInstances", INSTANCE, json!({}), true),
        ("ec2:StartInstances", "arn:aws:license-manager:us-east-1:2:license-configuration:lic-1", json!({}), true),
        ("ec2:TerminateInstances", INSTANCE, json!({}), false),
        ("ec2:RunInstances", INSTANCE, planned(), false),
        ("ec2:ModifyInstanceAttribute", INSTANCE, json!({"ec2:Attribute": "BlockDeviceMapping"}), true),
        // Who may write it runs commands as root at the next start.
        ("ec2:ModifyInstanceAttribute", INSTANCE, json!({"ec2:Attribute": "UserData"}), false),
        ("ec2:ModifyInstanceAttribute", INSTANCE, json!({}), false),
        ("ec2:DeleteVolume", VOLUME, restored(json!([])), false),
        ("ec2:DeleteSnapshot", SNAPSHOT, json!({"aws:ResourceTag/Type": "Automated"}), false),
        ("ec2:DeleteTags", VOLUME, restored(json!(["RestorePlan"])), false),
        ("ec2:DeregisterImage", IMAGE, json!({}), false),
        ("kms:DescribeKey", KEY, json!({}), true),
        ("kms:CreateGrant", KEY, ec2(), true),
        ("kms:CreateGrant", KEY, json!({"kms:ViaService": "ec2.us-east-1.amazonaws.com"}), false),
        ("kms:Decrypt", KEY, ec2(), true),
        ("kms:Decrypt", KEY, through("s3.us-east-1.amazonaws.com"), false),
        ("kms:Decrypt", KEY, json!({}), false),
        ("kms:PutKeyPolicy", KEY, ec2(), false),
        ("s3:GetObject", "arn:aws:s3:::a/runs/a", json!({}), false),
    ];
    let asked: Vec<Value> = cases
        .iter()
        .map(|(action, resource, context, _)| json!({"action": action, "resource": resource, "context": context}))
        .collect();
    let answers = cloud.simulate_policy(&stack, "RestorePolicyArn", &json!(asked));
    assert_eq!(answers.len(), cases.len());
    for (answer, (action, resource, context, allowed)) in answers.iter().zip(&cases) {
        assert_eq!(answer == "Allow", *allowed, "{action} on {resource} with {context}: {answer}");
    }
}

#[test]
fn nothing_in_the_stack_but_the_policy_for_restores_can_create_attach_or_stop() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    // Every condition that a statement could ask for.
    let context = json!({
        "aws:RequestTag/Type": "Automated", "aws:RequestTag/RestorePlan": "p-1", "aws:RequestTag/Backup": "Hold",
        "aws:ResourceTag/Type": "Automated", "aws:ResourceTag/RestorePlan": "p-1", "aws:ResourceTag/Backup": "Hold",
        "ssm:resourceTag/Backup": "Yes", "ec2:Attribute": "BlockDeviceMapping",
    });
    // Action, resource, whether the policy for restores allows it.
    let cases = [
        ("ec2:CreateVolume", VOLUME, true),
        ("ec2:AttachVolume", VOLUME, true),
        ("ec2:AttachVolume", INSTANCE, true),
        ("ec2:DetachVolume", VOLUME, true),
        ("ec2:StopInstances", INSTANCE, true),
        ("ec2:StartInstances", INSTANCE, true),
        ("ec2:CreateReplaceRootVolumeTask", INSTANCE, true),
        ("ec2:RegisterImage", IMAGE, true),
        ("ec2:RunInstances", INSTANCE, false),
        ("ec2:RebootInstances", INSTANCE, false),
        ("ec2:TerminateInstances", INSTANCE, false),
        ("ec2:ModifyInstanceAttribute", INSTANCE, true),
        ("ec2:ModifyVolume", VOLUME, false),
        ("ec2:DeleteVolume", VOLUME, false),
        ("ec2:DeregisterImage", IMAGE, false),
        ("ebs:PutSnapshotBlock", SNAPSHOT, false),
    ];
    let asked: Vec<Value> = cases
        .iter()
        .map(|(action, resource, _)| json!({"action": action, "resource": resource, "context": context}))
        .collect();
    let policies = cloud.policies(&stack);
    // Seven functions, the state machine and its schedule, and three policies for people.
    assert!(policies.len() >= 12, "{:?}", policies.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for (name, policy) in policies {
        let answers = decisions(&policy, &json!(asked));
        assert_eq!(answers.len(), cases.len());
        for (answer, (action, resource, restores)) in answers.iter().zip(cases) {
            assert_eq!(
                answer == "Allow",
                restores && name == "RestorePolicy",
                "{name}: {action} on {resource}: {answer}"
            );
        }
    }
}
