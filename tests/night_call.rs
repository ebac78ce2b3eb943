//! The night call: from the notification to a green `status`, by nothing but what each message says to do next.

use std::{env, process::Command};

use serde_json::{Value, json};

use crate::cloud::{Cloud, HOME, Stack, cloud, tagged, until};

/// What a person sees after a command, and its exit code.
struct Said {
    code: i32,
    text: String,
}

impl Said {
    /// The commands that a message names: between backticks, or on a line of their own.
    fn commands(&self) -> Vec<String> {
        let lines = self.text.lines().map(str::trim).filter(|line| line.starts_with("ebs-snapshots "));
        let marked = self.text.split('`').skip(1).step_by(2).filter(|marked| marked.starts_with("ebs-snapshots "));
        lines.chain(marked).map(str::to_owned).collect()
    }

    /// The one of them that does this.
    fn next(&self, what: &str) -> String {
        let commands = self.commands();
        let found = commands.iter().find(|command| command.contains(&format!(" {what}")));
        found.unwrap_or_else(|| panic!("{what} is not among {commands:?}: {}", self.text)).clone()
    }
}

/// What a person types, in a shell that knows the program, the account and nothing else.
fn type_in(cloud: &Cloud, command: &str) -> Said {
    let folder = env::current_exe().unwrap().parent().unwrap().with_file_name("");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env_clear().envs(cloud.environment());
    shell.env("PATH", format!("{}:/usr/bin:/bin", folder.display())).env("COLUMNS", "80");
    let done = shell.output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap();
    Said { code: done.status.code().unwrap_or(-1), text }
}

/// A mailbox for the stack's notifications: the URL of a queue.
fn mailbox(cloud: &Cloud, stack: &Stack) -> String {
    let made = cloud.call(HOME, "AmazonSQS.CreateQueue", &json!({"QueueName": "mailbox"}));
    let url = made["QueueUrl"].as_str().unwrap().to_owned();
    let asked = json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]});
    let arn = cloud.call(HOME, "AmazonSQS.GetQueueAttributes", &asked)["Attributes"]["QueueArn"].clone();
    let (topic, arn) = (stack.output("NotificationTopicArn"), arn.as_str().unwrap());
    let subscribe = format!("Action=Subscribe&TopicArn={topic}&Protocol=sqs&Endpoint={arn}&Version=2010-03-31");
    assert!(cloud.form(HOME, "sns", &subscribe).contains("SubscriptionArn"));
    url
}

/// The message whose subject has a word.
fn mail(cloud: &Cloud, mailbox: &str, word: &str) -> Said {
    let asked = json!({"QueueUrl": mailbox, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600});
    until("a message comes", || {
        let answer = cloud.call(HOME, "AmazonSQS.ReceiveMessage", &asked);
        let bodies = answer["Messages"].as_array()?.iter();
        let read = |message: &Value| serde_json::from_str::<Value>(message["Body"].as_str().unwrap()).unwrap();
        let mut mails = bodies.map(read).filter(|mail| mail["Subject"].as_str().unwrap().contains(word));
        mails.next().map(|mail| Said { code: 0, text: mail["Message"].as_str().unwrap().to_owned() })
    })
}

#[test]
fn a_night_call_ends_with_a_green_status_by_what_the_messages_say() {
    let mut cloud = cloud();
    let stack = cloud.stack(HOME);
    cloud.add_instances(HOME, &json!([tagged(json!({"Name": "database", "BackupCrossRegion": "us-east-1"}), 2)]));
    let well = cloud.run(&stack, &json!({}));
    assert_eq!(well.status, "SUCCEEDED", "{}", well.cause);
    let mailbox = mailbox(&cloud, &stack);

    let denied = json!({"action": "CopySnapshot", "code": "UnauthorizedOperation", "status": 403, "share": 1.0});
    cloud.control("chance", Some(&json!({"seed": 1, "faults": [denied]})));
    assert_eq!(cloud.run(&stack, &json!({})).status, "FAILED");
    let woken = mail(&cloud, &mailbox, "INCOMPLETE");
    assert!(woken.text.contains("AccessDenied"), "{}", woken.text);

    let listed = type_in(&cloud, &woken.next("dlq list"));
    assert_eq!(listed.code, 1, "{}", listed.text);
    let shown = type_in(&cloud, &listed.next("dlq show"));
    assert!(shown.text.contains("Grant the permission"), "{}", shown.text);
    // Too early: the reason is still there, and the message leads back to it.
    let early = type_in(&cloud, &shown.next("dlq retry"));
    assert!(early.code == 1 && early.text.contains("failed again"), "{}", early.text);
    let listed = type_in(&cloud, &early.next("dlq list"));

    // The permission is granted. One letter after the other, as each message says.
    cloud.control("chance", Some(&json!({"seed": 1, "faults": []})));
    let (mut listed, mut retried) = (listed, None);
    while listed.code == 1 {
        let shown = type_in(&cloud, &listed.next("dlq show"));
        let done = type_in(&cloud, &shown.next("dlq retry"));
        assert!(done.code == 0 && done.text.contains("done"), "{}", done.text);
        retried = Some(done);
        listed = type_in(&cloud, &woken.next("dlq list"));
    }
    let status = type_in(&cloud, &retried.unwrap().next("status"));
    assert!(status.code == 0 && status.text.contains("covered: 2 volumes of 1 instance"), "{}", status.text);
}
