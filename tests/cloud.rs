//! The local clouds with the deployed stacks, each shared by many stories, one at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead, BufReader, Write},
    ops::{Deref, DerefMut},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, TryLockError},
    thread::sleep,
    time::{Duration, Instant},
};

use chrono::{Days, NaiveDate, Utc};
use serde_json::{Value, json};

use crate::printed::{self, Printed};

/// The home region of the stack that most stories are about.
pub const HOME: &str = "eu-west-1";
/// The region of the stack with drills.
pub const DRILLED: &str = "us-west-2";

/// The home regions of the stacks, and their parameters.
const STACKS: [(&str, &str); 5] = [
    (HOME, "AllowedHookDocuments=arn:aws:ssm:eu-west-1:123456789012:document/story-hook"),
    ("us-east-1", "SnapshotConcurrency=7 CopyConcurrency=3"),
    ("eu-central-1", "ExpireRegions=eu-central-1"),
    (DRILLED, "DrillState=ENABLED DrillConcurrency=50"),
    ("ap-southeast-2", "DestinationKmsKeys=us-east-1=arn:aws:kms:us-east-1:123456789012:key/0a"),
];

/// Longer than any story takes.
const PATIENCE: Duration = Duration::from_secs(180);

/// The number of calls of EC2 that a failed story prints.
const LAST_CALLS: usize = 30;

/// The local cloud. It stops when this process ends: its standard input is closed then.
pub struct Cloud {
    _process: Child,
    logs: String,
    aws: String,
    ec2: String,
    http: ureq::Agent,
    stacks: BTreeMap<String, Stack>,
    /// How many lines of the functions were read by earlier stories.
    read: usize,
}

/// A deployed stack.
#[derive(Clone)]
pub struct Stack {
    region: String,
    outputs: BTreeMap<String, String>,
}

/// An execution that has ended.
pub struct Ended {
    pub arn: String,
    pub status: String,
    pub error: String,
    pub cause: String,
}

/// A local cloud, for one story. A story that fails prints where its logs are, and the last calls of EC2.
pub struct Story(MutexGuard<'static, Option<Cloud>>);

impl Deref for Story {
    type Target = Cloud;

    fn deref(&self) -> &Cloud {
        self.0.as_ref().expect("it was started with the story")
    }
}

impl DerefMut for Story {
    fn deref_mut(&mut self) -> &mut Cloud {
        self.0.as_mut().expect("it was started with the story")
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The output appears below the failed story. Nothing here may panic again.
            eprintln!("The logs of the local cloud are in {}", self.logs);
            let calls = self.http.get(format!("{}/_local/calls", self.ec2)).call();
            let calls: Option<Value> = calls.ok().and_then(|mut answer| answer.body_mut().read_json().ok());
            let calls = calls.and_then(|calls| calls.as_array().cloned()).unwrap_or_default();
            eprintln!("The last calls of EC2, of {} in all:", calls.len());
            for call in &calls[calls.len().saturating_sub(LAST_CALLS)..] {
                eprintln!("  {call}");
            }
            return;
        }
        // Whatever a story is about, what the functions print holds no secret, and is what the documents say.
        let problems = printed::problems(&self.printed(), &self.tokens());
        assert!(problems.is_empty(), "the functions printed:\n{}", problems.join("\n"));
    }
}

/// A local cloud with an empty EC2, empty queues, and nothing held or claimed.
///
/// There are three, since stories mostly wait; each is started by the first story that finds no other one free.
pub fn cloud() -> Story {
    static CLOUDS: [Mutex<Option<Cloud>>; 3] = [const { Mutex::new(None) }; 3];
    let mut free = loop {
        let free = CLOUDS.iter().enumerate().find_map(|(number, cloud)| match cloud.try_lock() {
            Ok(free) => Some((number, free)),
            // A failed story leaves a poisoned lock; the next story starts with an empty EC2.
            Err(TryLockError::Poisoned(poisoned)) => Some((number, poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        });
        match free {
            Some((number, mut free)) => {
                free.get_or_insert_with(|| Cloud::start(number));
                break Story(free);
            }
            None => sleep(Duration::from_millis(50)),
        }
    };
    free.stack(HOME);
    free.control("reset", Some(&json!({})));
    free.purge();
    free.forget_objects();
    free.read = printed::lines(&free.log("functions.log")).len();
    free
}

impl Cloud {
    fn start(number: usize) -> Self {
        let venvs = venvs();
        let logs = logs(&format!("stories-{number}"));
        let mut process = Command::new(format!("{venvs}/moto/bin/python"))
            .arg("tests/local/cloud.py")
            .arg(format!("--ministack-python={venvs}/ministack/bin/python"))
            .arg(format!("--log-dir={logs}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let urls: Value = serde_json::from_str(&line).expect("the local cloud starts");
        let url = |name: &str| urls[name].as_str().unwrap().to_owned();
        let http = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
        Self { _process: process, logs, aws: url("aws"), ec2: url("ec2"), http, stacks: BTreeMap::new(), read: 0 }
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(format!("{}/{name}", self.logs)).expect("the local cloud writes its logs")
    }

    /// What the functions have printed since the story began (tests/local/function_logs.py).
    pub fn printed(&self) -> Vec<Printed> {
        printed::lines(&self.log("functions.log")).split_off(self.read)
    }

    /// The task tokens that functions were given.
    fn tokens(&self) -> BTreeSet<String> {
        self.log("tokens.log").lines().map(str::to_owned).collect()
    }

    /// The stack of a home region, deployed when it is first needed.
    pub fn stack(&mut self, region: &str) -> Stack {
        if !self.stacks.contains_key(region) {
            let (_, parameters) = STACKS.iter().find(|(each, _)| *each == region).expect("its parameters are known");
            self.deploy(region, parameters);
            let stack = Stack { region: region.to_owned(), outputs: self.outputs(region) };
            self.stacks.insert(region.to_owned(), stack);
        }
        self.stacks[region].clone()
    }

    fn outputs(&self, region: &str) -> BTreeMap<String, String> {
        let describe = format!("Action=DescribeStacks&StackName={}&Version=2010-05-15", stack_name(region));
        let answer = self.form(region, "cloudformation", &describe);
        let (keys, values) =
            (between(&answer, "<OutputKey>", "</OutputKey>"), between(&answer, "<OutputValue>", "</OutputValue>"));
        keys.into_iter().zip(values).collect()
    }

    fn deploy(&self, region: &str, parameters: &str) {
        // Parameters on the command line replace all parameters of the file.
        let overrides = format!("{} {parameters}", local_parameters());
        let done = Command::new("sam")
            .args(["deploy", "--config-env", "local", "--region", region, "--stack-name", &stack_name(region)])
            .args(["--parameter-overrides", overrides.trim()])
            .env("PATH", format!("{}/tools/bin:{}", venvs(), env::var("PATH").unwrap()))
            .envs([("AWS_ENDPOINT_URL", self.aws.as_str()), ("AWS_DEFAULT_REGION", region), ("SAM_CLI_TELEMETRY", "0")])
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .env_remove("AWS_PROFILE")
            .output()
            .expect("sam is in the tools environment");
        assert!(done.status.success(), "sam deploy: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn purge(&self) {
        for stack in self.stacks.values() {
            for (name, url) in stack.outputs.iter().filter(|(name, _)| name.ends_with("QueueUrl")) {
                self.call(&stack.region, "AmazonSQS.PurgeQueue", &json!({"QueueUrl": url, "Name": name}));
            }
        }
    }

    /// Removes the claims and holds of earlier stories, and the pointer to their last report, from the report buckets.
    fn forget_objects(&self) {
        self.post_aws("_local/reset", &json!({}));
        for stack in self.stacks.values() {
            let bucket = stack.output("ReportBucketName");
            for prefix in ["holds/", "claims/", "latest.json", "drills/proven.json"] {
                let listing = self.get(stack, &format!("{}/{bucket}?list-type=2&prefix={prefix}", self.aws));
                for key in between(&listing, "<Key>", "</Key>") {
                    let request = self.http.delete(format!("{}/{bucket}/{key}", self.aws));
                    request.header("Authorization", authorization(&stack.region, "s3")).call().unwrap();
                }
            }
        }
    }

    /// The chains of messages that Lambda's loop detection has stopped (tests/local/recursion.py).
    pub fn stopped_chains(&self) -> Vec<Value> {
        let answer = self.http.get(format!("{}/_local/recursive", self.aws)).call().unwrap().body_mut().read_json();
        answer.unwrap()
    }

    /// Asks the control API of the rest of the local cloud (tests/local/aws.py).
    pub fn post_aws(&self, path: &str, body: &Value) {
        let answer = self.http.post(format!("{}/{path}", self.aws)).send_json(body).unwrap();
        assert!(answer.status().is_success(), "{path}");
    }

    /// Asks the EC2 endpoint's control API (tests/local/control.py).
    pub fn control(&self, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/_local/{path}", self.ec2);
        let mut answer = match body {
            Some(body) => self.http.post(&url).send_json(body).unwrap(),
            None => self.http.get(&url).call().unwrap(),
        };
        let value = answer.body_mut().read_json().unwrap_or_default();
        assert!(answer.status().is_success(), "{path}: {value}");
        value
    }

    /// Calls an AWS service that speaks JSON, such as `AWSStepFunctions.StartExecution`.
    pub fn call(&self, region: &str, target: &str, body: &Value) -> Value {
        let service = if target.starts_with("AmazonSQS") { "sqs" } else { "states" };
        let request = self
            .http
            .post(&self.aws)
            .header("Content-Type", "application/x-amz-json-1.0")
            .header("X-Amz-Target", target)
            .header("Authorization", authorization(region, service));
        let mut answer = request.send(body.to_string()).unwrap();
        let value: Value = answer.body_mut().read_json().unwrap_or_default();
        assert!(answer.status().is_success(), "{target}: {value}");
        value
    }

    /// The decisions of a deployed role's policy on requests (tests/local/simulate.py).
    pub fn simulate(&self, stack: &Stack, role: &str, cases: &Value) -> Vec<String> {
        let resource =
            format!("Action=DescribeStackResource&StackName={}&LogicalResourceId={role}", stack_name(&stack.region));
        let answer = self.form(&stack.region, "cloudformation", &format!("{resource}&Version=2010-05-15"));
        let name = between(&answer, "<PhysicalResourceId>", "</PhysicalResourceId>").remove(0);
        let get = format!("Action=GetRolePolicy&RoleName={name}&PolicyName=work&Version=2010-05-08");
        let answer = self.form(&stack.region, "iam", &get);
        decisions(&between(&answer, "<PolicyDocument>", "</PolicyDocument>").remove(0), cases)
    }

    /// What a managed policy of the template says to requests.
    pub fn simulate_policy(&self, stack: &Stack, output: &str, cases: &Value) -> Vec<String> {
        decisions(&self.managed_policy(stack, stack.output(output)), cases)
    }

    /// All policies of the deployed stack, of roles and for people, by the names of the resources that have them.
    pub fn policies(&self, stack: &Stack) -> Vec<(String, String)> {
        let named = format!("StackName={}&Version=2010-05-15", stack_name(&stack.region));
        let listed = self.form(&stack.region, "cloudformation", &format!("Action=DescribeStackResources&{named}"));
        let mut policies = Vec::new();
        for resource in between(&listed, "<member>", "</member>") {
            let field = |name: &str| between(&resource, &format!("<{name}>"), &format!("</{name}>")).remove(0);
            let (name, id) = (field("LogicalResourceId"), field("PhysicalResourceId"));
            match field("ResourceType").as_str() {
                "AWS::IAM::Role" => {
                    policies.extend(self.role_policies(stack, &id).into_iter().map(|own| (name.clone(), own)))
                }
                "AWS::IAM::ManagedPolicy" => policies.push((name, self.managed_policy(stack, &id))),
                _ => {}
            }
        }
        policies
    }

    fn role_policies(&self, stack: &Stack, role: &str) -> Vec<String> {
        let list = format!("Action=ListRolePolicies&RoleName={role}&Version=2010-05-08");
        let names = between(&self.form(&stack.region, "iam", &list), "<member>", "</member>");
        let attached = format!("Action=ListAttachedRolePolicies&RoleName={role}&Version=2010-05-08");
        let attached = between(&self.form(&stack.region, "iam", &attached), "<PolicyArn>", "</PolicyArn>");
        let inline = names.iter().map(|name| {
            let get = format!("Action=GetRolePolicy&RoleName={role}&PolicyName={name}&Version=2010-05-08");
            between(&self.form(&stack.region, "iam", &get), "<PolicyDocument>", "</PolicyDocument>").remove(0)
        });
        inline.chain(attached.iter().map(|arn| self.managed_policy(stack, arn))).collect()
    }

    fn managed_policy(&self, stack: &Stack, arn: &str) -> String {
        let get = format!("Action=GetPolicyVersion&PolicyArn={arn}&VersionId=v1&Version=2010-05-08");
        between(&self.form(&stack.region, "iam", &get), "<Document>", "</Document>").remove(0)
    }

    /// The environment of a program that talks to this cloud, and to no account of AWS.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let own = |value: &str| value.to_owned();
        vec![
            ("AWS_ENDPOINT_URL", self.aws.clone()),
            ("AWS_ENDPOINT_URL_EC2", self.ec2.clone()),
            ("AWS_ENDPOINT_URL_EBS", self.ec2.clone()),
            ("AWS_ENDPOINT_URL_KMS", self.ec2.clone()),
            ("AWS_ACCESS_KEY_ID", own("test")),
            ("AWS_SECRET_ACCESS_KEY", own("test")),
            ("AWS_EC2_METADATA_DISABLED", own("true")),
            ("AWS_CONFIG_FILE", own("/dev/null")),
            ("AWS_SHARED_CREDENTIALS_FILE", own("/dev/null")),
            ("NO_PROXY", own("127.0.0.1,localhost")),
        ]
    }

    /// Sets a variable of a function, without the template, as a person can do. Returns the old value.
    pub fn set_variable(&self, stack: &Stack, function: &str, name: &str, value: &str) -> String {
        let resource = format!(
            "Action=DescribeStackResource&StackName={}&LogicalResourceId={function}&Version=2010-05-15",
            stack_name(&stack.region)
        );
        let answer = self.form(&stack.region, "cloudformation", &resource);
        let id = between(&answer, "<PhysicalResourceId>", "</PhysicalResourceId>").remove(0);
        let url = format!("{}/2015-03-31/functions/{id}/configuration", self.aws);
        let authorization = || authorization(&stack.region, "lambda");
        let mut answer = self.http.get(&url).header("Authorization", authorization()).call().unwrap();
        let configuration: Value = answer.body_mut().read_json().unwrap();
        let mut environment = configuration["Environment"].clone();
        let before = environment["Variables"][name].as_str().unwrap_or_default().to_owned();
        environment["Variables"][name] = json!(value);
        let request = self.http.put(&url).header("Authorization", authorization());
        let answer = request.send_json(json!({"Environment": environment})).unwrap();
        assert!(answer.status().is_success(), "{name}={value}: {}", answer.status());
        before
    }

    /// The body of the deployed dashboard whose link is this output.
    pub fn dashboard(&self, stack: &Stack, output: &str) -> Value {
        let name = stack.output(output).rsplit('/').next().unwrap();
        let get = format!("Action=GetDashboard&DashboardName={name}&Version=2010-08-01");
        let answer = self.form(&stack.region, "monitoring", &get);
        let body = between(&answer, "<DashboardBody>", "</DashboardBody>").remove(0);
        serde_json::from_str(
            &body.replace("&quot;", "\"").replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"),
        )
        .unwrap()
    }

    /// Calls EC2.
    pub fn ec2(&self, region: &str, body: &str) -> String {
        self.post_form(&self.ec2, region, "ec2", &format!("{body}&Version=2016-11-15"))
    }

    /// Calls an AWS service that takes a form and answers XML.
    pub fn form(&self, region: &str, service: &str, body: &str) -> String {
        self.post_form(&self.aws, region, service, body)
    }

    fn post_form(&self, url: &str, region: &str, service: &str, body: &str) -> String {
        let request = self
            .http
            .post(url)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Authorization", authorization(region, service));
        request.send(body).unwrap().body_mut().read_to_string().unwrap()
    }

    /// Begins an execution, and answers its ARN.
    pub fn begin(&self, stack: &Stack, input: &Value) -> String {
        self.begin_machine(stack, "StateMachineArn", input)
    }

    /// The same of another state machine, which an output names.
    pub fn begin_machine(&self, stack: &Stack, output: &str, input: &Value) -> String {
        let body = json!({"stateMachineArn": stack.output(output), "input": input.to_string()});
        let answer = self.call(&stack.region, "AWSStepFunctions.StartExecution", &body);
        answer["executionArn"].as_str().unwrap().to_owned()
    }

    /// Runs a state machine of one state, with the role of the deployed machine.
    pub fn run_alone(&self, stack: &Stack, name: &str, state: &Value) -> Ended {
        let deployed = json!({"stateMachineArn": stack.output("StateMachineArn")});
        let role = self.call(&stack.region, "AWSStepFunctions.DescribeStateMachine", &deployed)["roleArn"].clone();
        let definition = json!({"StartAt": "Alone", "States": {"Alone": state}}).to_string();
        let machine = json!({"name": name, "roleArn": role, "definition": definition});
        let machine = self.call(&stack.region, "AWSStepFunctions.CreateStateMachine", &machine);
        let start = json!({"stateMachineArn": machine["stateMachineArn"], "input": "{}"});
        let begun = self.call(&stack.region, "AWSStepFunctions.StartExecution", &start);
        self.end_of(stack, begun["executionArn"].as_str().unwrap().to_owned())
    }

    /// Runs a changed copy of the deployed machine.
    pub fn run_changed(&self, stack: &Stack, name: &str, change: impl Fn(&mut Value), input: &Value) -> Ended {
        let deployed = json!({"stateMachineArn": stack.output("StateMachineArn")});
        let deployed = self.call(&stack.region, "AWSStepFunctions.DescribeStateMachine", &deployed);
        let mut definition: Value = serde_json::from_str(deployed["definition"].as_str().unwrap()).unwrap();
        change(&mut definition);
        let machine = json!({"name": name, "roleArn": deployed["roleArn"], "definition": definition.to_string()});
        let machine = self.call(&stack.region, "AWSStepFunctions.CreateStateMachine", &machine);
        let start = json!({"stateMachineArn": machine["stateMachineArn"], "input": input.to_string()});
        let begun = self.call(&stack.region, "AWSStepFunctions.StartExecution", &start);
        self.end_of(stack, begun["executionArn"].as_str().unwrap().to_owned())
    }

    /// An execution's status at this moment.
    pub fn status(&self, stack: &Stack, arn: &str) -> String {
        let described = self.call(&stack.region, "AWSStepFunctions.DescribeExecution", &json!({"executionArn": arn}));
        described["status"].as_str().unwrap().to_owned()
    }

    /// Waits for an execution's end.
    pub fn end_of(&self, stack: &Stack, arn: String) -> Ended {
        self.end_within(PATIENCE, stack, arn)
    }

    fn end_within(&self, patience: Duration, stack: &Stack, arn: String) -> Ended {
        let describe = || self.call(&stack.region, "AWSStepFunctions.DescribeExecution", &json!({"executionArn": arn}));
        let has_ended = || Some(describe()).filter(|described| described["status"] != "RUNNING");
        let described = until_within(patience, "the execution has ended", has_ended);
        let text = |name: &str| described[name].as_str().unwrap_or_default().to_owned();
        Ended { status: text("status"), error: text("error"), cause: text("cause"), arn }
    }

    /// Runs an execution to its end.
    pub fn run(&self, stack: &Stack, input: &Value) -> Ended {
        self.end_of(stack, self.begin(stack, input))
    }

    /// The same of another state machine, which an output names.
    pub fn run_machine(&self, stack: &Stack, output: &str, input: &Value) -> Ended {
        self.end_of_machine(stack, self.begin_machine(stack, output, input))
    }

    /// Waits for the end of an execution that may take longer than a run.
    pub fn end_of_machine(&self, stack: &Stack, arn: String) -> Ended {
        self.end_within(3 * PATIENCE, stack, arn)
    }

    /// The Map Runs of an execution.
    pub fn map_runs(&self, stack: &Stack, execution: &str) -> Vec<Value> {
        let body = json!({"executionArn": execution});
        let listed = self.call(&stack.region, "AWSStepFunctions.ListMapRuns", &body);
        let describe = |map_run: &Value| {
            let body = json!({"mapRunArn": map_run["mapRunArn"]});
            self.call(&stack.region, "AWSStepFunctions.DescribeMapRun", &body)
        };
        listed["mapRuns"].as_array().unwrap().iter().map(describe).collect()
    }

    /// A file of an execution in the report bucket; empty if there is none.
    pub fn report(&self, stack: &Stack, execution: &Ended, name: &str) -> String {
        self.file(stack, "runs/", execution, name)
    }

    /// The same of a drill.
    pub fn drill_file(&self, stack: &Stack, execution: &Ended, name: &str) -> String {
        self.file(stack, "drills/", execution, name)
    }

    fn file(&self, stack: &Stack, prefix: &str, execution: &Ended, name: &str) -> String {
        let bucket = stack.output("ReportBucketName");
        let ending = format!("/{}/{name}", execution.arn.rsplit(':').next().unwrap());
        // A listing ends after 1,000 keys.
        let (mut key, mut after) = (None, String::new());
        while key.is_none() {
            let page = format!("{}/{bucket}?list-type=2&prefix={prefix}&start-after={after}", self.aws);
            let keys = between(&self.get(stack, &page), "<Key>", "</Key>");
            let Some(last) = keys.last().cloned().filter(|last| *last > after) else { break };
            key = keys.into_iter().find(|key| key.ends_with(&ending));
            after = last;
        }
        key.map(|key| self.get(stack, &format!("{}/{bucket}/{key}", self.aws))).unwrap_or_default()
    }

    /// A manifest of an execution, a value per line.
    pub fn manifest(&self, stack: &Stack, execution: &Ended, name: &str) -> Vec<Value> {
        let body = self.report(stack, execution, name);
        body.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn get(&self, stack: &Stack, url: &str) -> String {
        let request = self.http.get(url).header("Authorization", authorization(&stack.region, "s3"));
        request.call().unwrap().body_mut().read_to_string().unwrap()
    }

    /// Puts a message into a queue, as a person would.
    pub fn send(&self, stack: &Stack, queue: &str, body: &str) {
        let message = json!({"QueueUrl": stack.output(queue), "MessageBody": body});
        self.call(&stack.region, "AmazonSQS.SendMessage", &message);
    }

    /// Whether a queue holds no message, visible, delivered or delayed.
    pub fn is_empty(&self, stack: &Stack, queue: &str) -> bool {
        ["", "NotVisible", "Delayed"].iter().all(|kind| self.messages(stack, queue, kind) == 0)
    }

    /// The messages in a queue that can be received.
    pub fn count(&self, stack: &Stack, queue: &str) -> u64 {
        self.messages(stack, queue, "")
    }

    fn messages(&self, stack: &Stack, queue: &str, kind: &str) -> u64 {
        let name = format!("ApproximateNumberOfMessages{kind}");
        let body = json!({"QueueUrl": stack.output(queue), "AttributeNames": [name]});
        let answer = self.call(&stack.region, "AmazonSQS.GetQueueAttributes", &body);
        answer["Attributes"][&name].as_str().unwrap().parse().unwrap()
    }

    /// Sets a queue's visibility time-out, in seconds; the template has 360.
    pub fn hide_for(&self, stack: &Stack, queue: &str, seconds: u32) {
        let attributes = json!({"VisibilityTimeout": seconds.to_string()});
        let body = json!({"QueueUrl": stack.output(queue), "Attributes": attributes});
        self.call(&stack.region, "AmazonSQS.SetQueueAttributes", &body);
    }

    /// Kills the processes of a function, whatever they are doing. Returns how many there were.
    pub fn kill_function(&self, name: &str) -> usize {
        let ours = format!("AWS_ENDPOINT_URL={}\0", self.aws);
        let of_function = |process: &std::path::Path| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let mut names = environment.split('\0').filter_map(|entry| entry.strip_prefix("AWS_LAMBDA_FUNCTION_NAME="));
            environment.contains(&ours) && names.any(|function| function.contains(&format!("-{name}-")))
        };
        let all = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let processes: Vec<_> = all.filter(|process| of_function(process)).collect();
        for process in &processes {
            Command::new("kill").arg("-9").arg(process.file_name().unwrap()).status().unwrap();
        }
        processes.len()
    }

    /// Waits for a message in a queue. Returns its body and its attributes.
    pub fn receive(&self, stack: &Stack, queue: &str) -> (Value, BTreeMap<String, String>) {
        let body = json!({"QueueUrl": stack.output(queue), "MessageAttributeNames": ["All"], "VisibilityTimeout": 600});
        let message = until("there is a message", || {
            let answer = self.call(&stack.region, "AmazonSQS.ReceiveMessage", &body);
            answer["Messages"].get(0).cloned()
        });
        let attributes = message["MessageAttributes"].as_object().cloned().unwrap_or_default();
        let text = |value: &Value| value["StringValue"].as_str().unwrap_or_default().to_owned();
        let body = message["Body"].as_str().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| json!(body));
        (body, attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect())
    }

    /// Adds instances to a region. Returns their ids, and the ids of their volumes.
    pub fn add_instances(&self, region: &str, instances: &Value) -> Vec<(String, Vec<String>)> {
        let answer = self.control("instances", Some(&json!({"region": region, "instances": instances})));
        let text = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let volumes = |value: &Value| value["volumes"].as_array().unwrap().iter().map(text).collect();
        answer.as_array().unwrap().iter().map(|one| (text(one), volumes(one))).collect()
    }

    /// Adds a snapshot. Returns its id.
    pub fn add_snapshot(&self, region: &str, snapshot: Value) -> String {
        let answer = self.control("snapshots", Some(&json!({"region": region, "snapshots": [snapshot]})));
        answer[0].as_str().unwrap().to_owned()
    }

    pub fn snapshots(&self, region: &str) -> Vec<Value> {
        self.control(&format!("snapshots?region={region}"), None).as_array().unwrap().clone()
    }

    pub fn snapshot_ids(&self, region: &str) -> BTreeSet<String> {
        self.snapshots(region).iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The calls of an action, or all of them.
    pub fn calls(&self, action: &str) -> Vec<Value> {
        let path = if action.is_empty() { "calls".to_owned() } else { format!("calls?action={action}") };
        self.control(&path, None).as_array().unwrap().clone()
    }

    /// The calls that changed something, or tried to.
    pub fn mutating_calls(&self) -> Vec<Value> {
        let reads = |call: &Value| call["action"].as_str().unwrap().starts_with("Describe");
        self.calls("").into_iter().filter(|call| !reads(call)).collect()
    }
}

/// What a policy, as IAM answers it, says to requests (tests/local/simulate.py).
pub fn decisions(policy: &str, cases: &Value) -> Vec<String> {
    ask("ministack", &["tests/local/simulate.py"], &json!({"policy": policy, "cases": cases}))
}

/// The answers to requests of deployed roles, from a second local cloud that enforces IAM (tests/local/enforce.py).
pub fn enforce(requests: &Value) -> Vec<String> {
    let (venvs, logs) = (format!("--venvs={}", venvs()), format!("--log-dir={}", logs("enforce")));
    ask("moto", &["tests/local/enforce.py", &venvs, &logs], requests)
}

impl Stack {
    /// An output of the template.
    pub fn output(&self, name: &str) -> &str {
        &self.outputs[name]
    }
}

/// Repeats a question until there is an answer.
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask)
}

fn until_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < patience, "waited in vain until {what}");
        sleep(Duration::from_millis(50));
    }
}

/// The date some days from now; before now if the number is negative.
pub fn day(offset: i64) -> NaiveDate {
    let today = Utc::now().date_naive();
    let days = Days::new(offset.unsigned_abs());
    if offset < 0 { today - days } else { today + days }
}

/// An instance that asks for a backup, for [`Cloud::add_instances`].
pub fn tagged(tags: Value, volumes: usize) -> Value {
    let devices = ["/dev/sda1", "/dev/sdf", "/dev/sdg", "/dev/sdh"];
    let volumes: Vec<Value> = devices[..volumes].iter().map(|device| json!({"device": device})).collect();
    let mut own = json!({"Backup": "Yes"});
    own.as_object_mut().unwrap().extend(tags.as_object().unwrap().clone());
    json!({"tags": own, "state": "running", "volumes": volumes})
}

/// Roles are global, and the local cloud names them after the stack only: two stacks with one name would share them.
pub fn stack_name(region: &str) -> String {
    format!("ebs-snapshots-{region}")
}

fn authorization(region: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

pub fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    text.split(open).skip(1).filter_map(|rest| Some(rest.split_once(close)?.0.to_owned())).collect()
}

/// Asks a program in Python, on its standard input.
pub fn ask(environment: &str, program: &[&str], asked: &Value) -> Vec<String> {
    let mut python = Command::new(format!("{}/{environment}/bin/python", venvs()));
    let mut running = python.args(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    serde_json::from_slice(&running.wait_with_output().unwrap().stdout).expect("the program answers")
}

fn logs(of: &str) -> String {
    env::temp_dir().join(format!("ebs-snapshots-{of}-{}", std::process::id())).display().to_string()
}

/// The parameters of every deployment on the local cloud, as samconfig.toml has them.
fn local_parameters() -> String {
    let file = std::fs::read_to_string("samconfig.toml").unwrap();
    let local = file.split("[local.deploy.parameters]").nth(1).expect("samconfig.toml has parameters for `local`");
    between(local, "parameter_overrides = \"", "\"").remove(0)
}

fn venvs() -> String {
    env::var("LOCAL_CLOUD_VENVS").expect("run the stories with `make stories`, which says where its environments are")
}
