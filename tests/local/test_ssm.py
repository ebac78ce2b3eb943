"""SSM as boto3 talks to it: documents, agents, and commands whose scripts really run."""

import json
import tempfile
import time
import urllib.error
from pathlib import Path

from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from scene import AWAY, HOME, SECONDS, Scene, client, connect, instance, local

EXECUTION = "6f1a1e2c-0f55-4c8e-9a86-5f3f9d5c9c11"
SCRIPT = """#!/bin/bash
echo "{{ command }} of {{ executionId }} in $FOLDER"
"""


def document(*lines, seconds="{{ executionTimeout }}", **changes):
    content = {
        "schemaVersion": "2.2",
        "parameters": {
            "command": {"type": "String", "allowedValues": ["pre-script", "post-script", "dry-run"]},
            "executionId": {"type": "String", "default": "None", "allowedPattern": "^(None|[0-9a-f-]{36})$"},
            "executionTimeout": {"type": "String", "default": "60", "allowedPattern": "^[0-9]+$"},
        },
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "hook",
                "precondition": {"StringEquals": ["platformType", "Linux"]},
                "inputs": {"runCommand": list(lines), "timeoutSeconds": seconds},
            }
        ],
    }
    return {**content, **changes}


class SsmScene(Scene):
    def setUp(self):
        super().setUp()
        self.instance = instance()["id"]
        self.agent()
        self.ssm = connect("ssm", parameter_validation=False)
        self.document(SCRIPT)

    def agent(self, **more):
        given = {"region": HOME, "instance": self.instance, "environment": {"FOLDER": "/data"}}
        local("agents", {**given, **more})

    def document(self, *lines, **changes):
        return local("documents", {"region": HOME, "name": "hook", "content": document(*lines, **changes)})

    def send(self, command="pre-script", timeout=30, **parameters):
        return self.ssm.send_command(
            DocumentName="hook",
            InstanceIds=[self.instance],
            TimeoutSeconds=timeout,
            Comment="a hook",
            Parameters={"command": [command], **{name: [value] for name, value in parameters.items()}},
        )["Command"]["CommandId"]

    def look(self, command):
        return self.ssm.get_command_invocation(CommandId=command, InstanceId=self.instance)

    def wait(self, until, what):
        deadline = time.monotonic() + 10
        while not (found := until()):
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.02)
        return found

    def end(self, command):
        """The invocation when it has ended."""

        def ended():
            found = self.look(command)
            return found if found["Status"] not in ("Pending", "InProgress", "Delayed", "Cancelling") else None

        return self.wait(ended, "the command ends")

    def ended(self, **parameters):
        found = self.end(self.send(**parameters))
        return found["Status"], found["StatusDetails"], found["ResponseCode"]

    def folder(self):
        return Path(self.enterContext(tempfile.TemporaryDirectory(prefix="ssm-test-")))

    def log(self):
        return [(call["action"], call["outcome"]) for call in local("calls?service=ssm")]

    def fault(self, **fault):
        local("faults", {"action": "RunScript", **fault})


class Commands(SsmScene):
    def test_a_script_really_runs_with_its_parameters_and_its_instances_environment(self):
        command = self.send(executionId=EXECUTION)
        found = self.end(command)
        self.assertEqual(found["StandardOutputContent"], f"pre-script of {EXECUTION} in /data\n")
        self.assertEqual((found["Status"], found["ResponseCode"], found["Comment"]), ("Success", 0, "a hook"))
        self.assertEqual((found["DocumentName"], found["DocumentVersion"], found["PluginName"]), ("hook", "1", "hook"))
        self.assertLess(found["ExecutionStartDateTime"], found["ExecutionEndDateTime"])
        listed = local("commands")[0]
        self.assertEqual((listed["id"], listed["parameters"]["executionTimeout"]), (command, "60"))

    def test_its_exit_code_and_its_errors_are_reported(self):
        self.document("#!/bin/bash", "echo no >&2; exit 206")
        found = self.end(self.send())
        self.assertEqual((found["Status"], found["StatusDetails"]), ("Failed", "Failed"))
        self.assertEqual((found["ResponseCode"], found["StandardErrorContent"]), (206, "no\n"))

    def test_without_a_first_line_that_names_a_shell_it_is_sh(self):
        self.document("echo ${BASH_VERSION-none}")
        if Path("/bin/sh").resolve().name == "bash":
            self.skipTest("sh is bash here")
        self.assertEqual(self.end(self.send())["StandardOutputContent"], "none\n")

    def test_output_is_shown_up_to_its_limit(self):
        self.document("head -c 30000 /dev/zero | tr '\\0' x")
        self.assertEqual(len(self.end(self.send())["StandardOutputContent"]), 24000)

    def test_a_script_is_killed_with_its_group_when_its_time_is_over_but_not_what_has_left_the_group(self):
        left = self.folder() / "left"
        self.document(
            "#!/bin/bash", "sleep 77 & echo $!", f"set -m; (sleep 1.5; touch {left}) >/dev/null 2>&1 &", "wait"
        )
        command = self.send(executionTimeout="1")
        found = self.end(command)
        self.assertEqual(
            (found["Status"], found["StatusDetails"], found["ResponseCode"]), ("TimedOut", "ExecutionTimedOut", 137)
        )
        sleeper = found["StandardOutputContent"].strip()
        self.wait(lambda: not alive(sleeper), "the group is killed")
        self.wait(left.exists, "what left the group goes on")

    def test_the_log_is_one_with_that_of_ec2(self):
        self.end(self.send())
        volume = client().describe_instances(InstanceIds=[self.instance])
        volume = volume["Reservations"][0]["Instances"][0]["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        client().create_snapshot(VolumeId=volume)
        self.end(self.send("post-script"))
        calls = [call for call in local("calls") if call["action"] not in ("GetCommandInvocation", "DescribeInstances")]
        self.assertEqual(
            [(call["service"], call["action"], call["params"].get("command")) for call in calls],
            [
                ("ssm", "SendCommand", None),
                ("ssm", "ScriptStarted", "pre-script"),
                ("ssm", "ScriptEnded", "pre-script"),
                ("ec2", "CreateSnapshot", None),
                ("ssm", "SendCommand", None),
                ("ssm", "ScriptStarted", "post-script"),
                ("ssm", "ScriptEnded", "post-script"),
            ],
        )
        self.assertEqual(calls[0]["result"], [calls[1]["params"]["CommandId"]])
        self.assertEqual(sorted(call["at"] for call in calls), [call["at"] for call in calls])

    def test_a_command_is_cancelled(self):
        self.document("sleep 77")
        command = self.send()
        self.wait(lambda: ("ScriptStarted", "ok") in self.log(), "the script is started")
        self.ssm.cancel_command(CommandId=command)
        self.assertEqual(self.end(command)["Status"], "Cancelled")
        self.assertEqual(self.log()[-1][0], "GetCommandInvocation")

    def test_a_reset_ends_what_is_running(self):
        self.document("echo $$ > $FOLDER/pid; exec sleep 77")
        folder = self.folder()
        self.agent(environment={"FOLDER": str(folder)})
        self.send()
        process = self.wait(lambda: read(folder / "pid").strip(), "the script is started")
        local("reset", {})
        self.wait(lambda: not alive(process), "the script is ended")
        self.assertEqual((local("commands"), local("documents")[0]["name"]), ([], "hook"))


class Faults(SsmScene):
    def test_a_script_can_be_reported_otherwise(self):
        self.fault(exitCode=201, output="no\n", command="post-script")
        self.fault(kind="answer-after", exitCode=0, output="nonsense", command="pre-script")
        self.assertEqual(self.end(self.send("pre-script"))["StandardOutputContent"], "nonsense")
        self.assertEqual(self.ended(command="post-script"), ("Failed", "Failed", 201))
        self.assertEqual(self.ended(command="post-script"), ("Success", "Success", 0))
        started = [call["fault"] for call in local("calls?action=ScriptStarted") if "fault" in call]
        self.assertEqual(started, ["answer-after"])

    def test_a_script_can_hang_with_and_without_having_run(self):
        local("settings", {"commandTimeScale": 0.1})
        self.fault(kind="hang")
        self.fault(kind="hang-after")
        for runs in (0, 1):
            self.assertEqual(self.ended(executionTimeout="20"), ("TimedOut", "ExecutionTimedOut", 137))
            self.assertEqual(len(local("calls?action=ScriptEnded")), runs)

    def test_its_end_may_never_be_heard_of(self):
        local("settings", {"commandTimeScale": 0.02})
        self.fault(kind="silent")
        command = self.send(executionTimeout="90")
        self.wait(lambda: ("ScriptEnded", "0") in self.log(), "the script has ended")
        self.assertEqual(self.look(command)["Status"], "InProgress")
        self.assertEqual(self.end(command)["StatusDetails"], "DeliveryTimedOut")

    def test_it_may_be_delivered_late_or_never(self):
        self.fault(kind="late", seconds=SECONDS)
        command = self.send()
        self.assertIn(self.look(command)["Status"], ("Pending", "Delayed"))
        self.assertEqual(local("calls?action=ScriptStarted"), [])
        self.assertEqual(self.end(command)["Status"], "Success")
        local("settings", {"commandTimeScale": 0.01})
        self.fault(kind="undelivered")
        self.assertEqual(self.ended(), ("TimedOut", "DeliveryTimedOut", -1))
        self.fault(kind="undeliverable")
        self.assertEqual(self.ended(), ("Failed", "Undeliverable", -1))

    def test_an_invocation_may_not_exist_yet_and_its_status_lag(self):
        local("settings", {"invocationLagSeconds": 60})
        command = self.send()
        self.refused("InvocationDoesNotExist", self.look, command)
        local("settings", {"invocationLagSeconds": 0, "statusLagSeconds": 60})
        self.wait(lambda: local("commands")[0]["status"] == "Success", "the script has ended")
        self.assertEqual(self.look(command)["Status"], "Pending")
        local("settings", {"statusLagSeconds": 0})
        self.assertEqual(self.look(command)["Status"], "Success")

    def test_calls_meet_the_faults_that_ec2s_meet(self):
        local("faults", {"action": "SendCommand", "code": "ThrottlingException"})
        local("faults", {"action": "SendCommand", "kind": "lost"})
        local("faults", {"action": "GetCommandInvocation", "kind": "error-after"})
        self.refused("ThrottlingException", self.send)
        self.assertEqual(local("commands"), [])
        with self.assertRaises((ConnectionClosedError, HTTPClientError)):
            self.send()
        command = local("commands")[0]["id"]
        self.refused("InternalServerError", self.look, command, status=500)
        self.end(command)

    def test_a_fault_of_a_script_is_checked(self):
        for fault, said in (({"kind": "refuse"}, "undelivered"), ({"code": "x"}, "code")):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.fault(**fault)
            self.assertIn(said, json.load(caught.exception)["error"])


class Refusals(SsmScene):
    def test_what_send_command_refuses(self):
        self.refused("ValidationException", self.send, timeout=29)
        self.refused("InvalidParameters", self.send, command="snapshot")
        self.refused("InvalidParameters", self.send, executionId="1; rm -rf /")
        self.refused("InvalidParameters", self.send, mode="dump")
        send = self.ssm.send_command
        self.refused("InvalidParameters", send, DocumentName="hook", InstanceIds=[self.instance])
        self.refused("InvalidDocument", send, DocumentName="other", InstanceIds=[self.instance])
        self.refused("InvalidDocumentVersion", send, DocumentName="hook", DocumentVersion="2")
        self.assertEqual(local("commands"), [])

    def test_a_document_is_named_by_its_arn_too_in_its_region(self):
        for region, code in ((HOME, None), (AWAY, "InvalidDocument")):
            given = {
                "DocumentName": f"arn:aws:ssm:{region}:123456789012:document/hook",
                "InstanceIds": [self.instance],
                "Parameters": {"command": ["dry-run"]},
            }
            if code:
                self.refused(code, self.ssm.send_command, **given)
            else:
                self.end(self.ssm.send_command(**given)["Command"]["CommandId"])

    def managed(self):
        filters = [{"Key": "InstanceIds", "Values": [self.instance]}]
        found = self.ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
        return [each["PingStatus"] for each in found]

    def test_an_instance_without_an_agent_is_in_no_valid_state(self):
        self.assertEqual(self.managed(), ["Online"])
        self.agent(pingStatus="ConnectionLost")
        self.assertEqual(self.managed(), ["ConnectionLost"])
        self.refused("InvalidInstanceId", self.send)
        local("remove-agent", {"region": HOME, "instance": self.instance})
        self.assertEqual(self.managed(), [])
        self.refused("InvalidInstanceId", self.send)
        self.agent()
        client().stop_instances(InstanceIds=[self.instance])
        self.assertEqual(self.managed(), [])
        self.refused("InvalidInstanceId", self.send)

    def test_instances_come_in_pages(self):
        for number in range(11):
            local("agents", {"region": HOME, "instance": f"i-{number:017x}"})
        pages = self.ssm.get_paginator("describe_instance_information").paginate(PaginationConfig={"PageSize": 5})
        self.assertEqual([len(page["InstanceInformationList"]) for page in pages], [5, 5, 2])

    def test_an_invocation_that_does_not_exist(self):
        self.refused("InvocationDoesNotExist", self.look, EXECUTION)
        self.refused("InvalidCommandId", self.look, "x")
        command = self.send()
        look = self.ssm.get_command_invocation
        self.refused("InvocationDoesNotExist", look, CommandId=command, InstanceId="i-00000000000000000")
        self.refused("InvalidPluginName", look, CommandId=command, InstanceId=self.instance, PluginName="other")

    def test_documents_that_it_does_not_understand_are_not_made(self):
        for content, said in (
            (document("echo {{ nothing }}"), "nothing"),
            (document("echo", schemaVersion="1.2"), "schemaVersion"),
            (document("echo", mainSteps=[]), "aws:runShellScript"),
            ("{", "JSON"),
        ):
            with self.assertRaises(ClientError) as caught:
                self.ssm.create_document(Name="new", Content=json.dumps(content) if said != "JSON" else content)
            error = caught.exception.response["Error"]
            self.assertEqual(error["Code"], "InvalidDocumentContent")
            self.assertIn(said, error["Message"])
        long = json.dumps(document("x" * 65536))
        self.refused("MaxDocumentSizeExceeded", self.ssm.create_document, Name="new", Content=long)
        made = json.dumps(document("echo"))
        self.refused("DocumentAlreadyExists", self.ssm.create_document, Name="hook", Content=made)
        self.refused("ValidationException", self.ssm.create_document, Name="aws-hook", Content=made)

    def test_versions(self):
        self.ssm.update_document(Name="hook", Content=json.dumps(document("echo new")), DocumentVersion="$LATEST")
        self.assertIn("of", self.end(self.send())["StandardOutputContent"])
        self.ssm.update_document_default_version(Name="hook", DocumentVersion="2")
        self.assertEqual(self.end(self.send())["StandardOutputContent"], "new\n")
        described = self.ssm.describe_document(Name="hook")["Document"]
        self.assertEqual([each["Name"] for each in described["Parameters"]], list(document()["parameters"]))
        content = json.loads(self.ssm.get_document(Name="hook", DocumentVersion="1")["Content"])
        self.assertEqual(content, document(SCRIPT))
        self.ssm.delete_document(Name="hook")
        self.refused("InvalidDocument", self.send)


def alive(process):
    return "State:\tZ" not in (read(Path("/proc") / process / "status") or "State:\tZ")


def read(path):
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
