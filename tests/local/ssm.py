"""SSM's wire, JSON 1.1: the calls that documents and Run Command need.

ssm_documents.py  documents, their parameters and scripts
ssm_commands.py   agents, commands and their scripts' processes
ssm.py            each call, from its JSON to its answer
"""

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from werkzeug.wrappers import Response

import ssm_commands
import ssm_documents
from ssm_commands import AGENTS, COMMANDS, Agent, Command
from ssm_documents import Refusal

Json = dict[str, Any]
LOG = logging.getLogger("ssm")
CONTENT_TYPE = "application/x-amz-json-1.1"
INSTANCE = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
AGENT_VERSION = "3.3.2299.0"
PAGE = 50
# Seconds; SendCommand's TimeoutSeconds, which is for delivery alone.
MIN_DELIVERY, MAX_DELIVERY = 30, 2592000


def send_command(region: str, given: Json) -> Json:
    timeout = given.get("TimeoutSeconds", 3600)
    if type(timeout) is not int or not MIN_DELIVERY <= timeout <= MAX_DELIVERY:
        raise Refusal(
            "ValidationException",
            f"TimeoutSeconds is {timeout!r}; a number from {MIN_DELIVERY} to {MAX_DELIVERY} is allowed",
        )
    if len(given.get("Comment", "")) > 100:
        raise Refusal("ValidationException", "Comment has more than 100 characters")
    instances = given.get("InstanceIds", [])
    for instance in instances:
        if not INSTANCE.fullmatch(instance):
            raise Refusal("ValidationException", f"{instance!r} is no id of an instance")
    if len(set(instances)) != len(instances):
        raise Refusal("DuplicateInstanceId", "an instance is named twice")
    return {"Command": command_shape(ssm_commands.send(region, given))}


def command_shape(command: Command) -> Json:
    status = command.shown()
    return {
        "CommandId": command.id,
        "DocumentName": command.document.name,
        "DocumentVersion": command.given.get("DocumentVersion", "$DEFAULT"),
        "Comment": command.given.get("Comment", ""),
        "ExpiresAfter": command.requested + command.delivery_seconds + command.step_seconds,
        "Parameters": command.given.get("Parameters", {}),
        "InstanceIds": [command.agent.instance],
        "Targets": [],
        "RequestedDateTime": command.requested,
        "Status": status["status"] if status["status"] != "Delayed" else "Pending",
        "StatusDetails": status["details"],
        "TargetCount": 1,
        "CompletedCount": int(status["code"] != ssm_commands.NOT_ENDED),
        "ErrorCount": int(status["status"] == "Failed"),
        "DeliveryTimedOutCount": int(status["details"] == "DeliveryTimedOut"),
        "TimeoutSeconds": command.delivery_seconds,
    }


def find_command(region: str, given: Json) -> Command:
    wanted = given["CommandId"]
    if not re.fullmatch(r"[0-9a-f-]{36}", wanted):
        raise Refusal("InvalidCommandId")
    command = COMMANDS.get(wanted)
    if command is None or command.agent.region != region:
        raise Refusal("InvalidCommandId")
    return command


def get_command_invocation(region: str, given: Json) -> Json:
    try:
        command = find_command(region, given)
    except Refusal as refusal:
        # Of an id that looks like one it is only said that there is no such invocation.
        code = "InvocationDoesNotExist" if len(given["CommandId"]) == 36 else refusal.code
        raise Refusal(code) from None
    if command.agent.instance != given["InstanceId"] or not command.is_visible():
        raise Refusal("InvocationDoesNotExist")
    status = command.shown()
    step = command.content["mainSteps"][0]["name"]
    if given.get("PluginName", step) != step:
        raise Refusal("InvalidPluginName")
    started, ended = status.get("started"), status.get("ended")
    return {
        "CommandId": command.id,
        "InstanceId": command.agent.instance,
        "Comment": command.given.get("Comment", ""),
        "DocumentName": command.document.name,
        "DocumentVersion": str(command.version),
        "PluginName": step,
        "ResponseCode": status["code"],
        "ExecutionStartDateTime": iso(started),
        "ExecutionElapsedTime": f"PT{(ended - started).total_seconds():.3f}S" if started and ended else "",
        "ExecutionEndDateTime": iso(ended),
        "Status": status["status"],
        "StatusDetails": status["details"],
        "StandardOutputContent": status["output"],
        "StandardOutputUrl": "",
        "StandardErrorContent": status["errors"],
        "StandardErrorUrl": "",
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
    }


def iso(moment: datetime | None) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else ""


def cancel_command(region: str, given: Json) -> Json:
    command = find_command(region, given)
    if given.get("InstanceIds", [command.agent.instance]) != [command.agent.instance]:
        raise Refusal("InvalidInstanceId", "the command was not sent to this instance")
    command.cancel()
    return {}


def describe_instance_information(region: str, given: Json) -> Json:
    found = [agent for agent in AGENTS.values() if agent.region == region and agent.is_shown]
    filters = [(each["Key"], each["Values"]) for each in given.get("Filters", [])]
    filters += [(each["key"], each["valueSet"]) for each in given.get("InstanceInformationFilterList", [])]
    for key, values in filters:
        if key not in FILTERS:
            raise Refusal("InvalidFilterKey", f"the local SSM knows {', '.join(FILTERS)}")
        found = [agent for agent in found if FILTERS[key](agent) in values]
    size = given.get("MaxResults", PAGE)
    if type(size) is not int or not 5 <= size <= PAGE:
        raise Refusal("ValidationException", f"MaxResults is {size!r}; a number from 5 to {PAGE} is allowed")
    token = given.get("NextToken", "0")
    if not token.isdigit():
        raise Refusal("InvalidNextToken", token)
    first = int(token)
    more = {"NextToken": str(first + size)} if first + size < len(found) else {}
    return {"InstanceInformationList": [agent_shape(agent) for agent in found[first : first + size]], **more}


FILTERS: dict[str, Callable[[Agent], str]] = {
    "InstanceIds": lambda agent: agent.instance,
    "PingStatus": lambda agent: agent.ping,
    "PlatformTypes": lambda _: "Linux",
    "ResourceType": lambda _: "EC2Instance",
}


def agent_shape(agent: Agent) -> Json:
    return {
        "InstanceId": agent.instance,
        "PingStatus": agent.ping,
        "LastPingDateTime": datetime.now(UTC).timestamp(),
        "AgentVersion": AGENT_VERSION,
        "IsLatestVersion": True,
        "PlatformType": "Linux",
        "PlatformName": "Debian GNU/Linux",
        "PlatformVersion": "12",
        "ResourceType": "EC2Instance",
        "IPAddress": "10.0.0.1",
        "ComputerName": agent.instance,
        "SourceId": agent.instance,
        "SourceType": "AWS::EC2::Instance",
    }


def create_document(region: str, given: Json) -> Json:
    return {"DocumentDescription": ssm_documents.create(region, given).shape(1)}


def update_document(region: str, given: Json) -> Json:
    document, version = ssm_documents.update(region, given)
    return {"DocumentDescription": document.shape(version)}


def update_default_version(region: str, given: Json) -> Json:
    document = ssm_documents.find(region, given["Name"])
    document.default = document.version(given["DocumentVersion"])
    return {"Description": {"Name": document.name, "DefaultVersion": str(document.default)}}


def delete_document(region: str, given: Json) -> Json:
    document = ssm_documents.find(region, given["Name"])
    del ssm_documents.DOCUMENTS[region, document.name]
    return {}


def describe_document(region: str, given: Json) -> Json:
    document = ssm_documents.find(region, given["Name"])
    return {"Document": document.shape(document.version(given.get("DocumentVersion")))}


def get_document(region: str, given: Json) -> Json:
    document = ssm_documents.find(region, given["Name"])
    version = document.version(given.get("DocumentVersion"))
    return {
        "Name": document.name,
        "DocumentVersion": str(version),
        "Status": "Active",
        "Content": document.versions[version - 1],
        "DocumentType": "Command",
        "DocumentFormat": "JSON",
    }


def add_tags(region: str, given: Json) -> Json:
    if given["ResourceType"] != "Document":
        raise Refusal("InvalidResourceType", "the local SSM has tags of documents only")
    document = ssm_documents.find(region, given["ResourceId"])
    document.tags.update({tag["Key"]: tag["Value"] for tag in given["Tags"]})
    return {}


CALLS: dict[str, Callable[[str, Json], Json]] = {
    "SendCommand": send_command,
    "GetCommandInvocation": get_command_invocation,
    "CancelCommand": cancel_command,
    "DescribeInstanceInformation": describe_instance_information,
    "CreateDocument": create_document,
    "UpdateDocument": update_document,
    "UpdateDocumentDefaultVersion": update_default_version,
    "DeleteDocument": delete_document,
    "DescribeDocument": describe_document,
    "GetDocument": get_document,
    "AddTagsToResource": add_tags,
}


# Made by CloudFormation as a stack is deployed, at times that no story chooses.
UNLOGGED = {"CreateDocument", "UpdateDocument", "UpdateDocumentDefaultVersion", "DeleteDocument", "AddTagsToResource"}


class SsmCall:
    """One call of SSM: what the endpoint needs to know of it, and its answers."""

    service = "ssm"
    target_prefix = "AmazonSSM."
    fault_code = "InternalError"
    statuses: dict[str, int] = {}
    about: dict[str, str] = {}

    def __init__(self, target: str, body: bytes) -> None:
        self.action = target.removeprefix(self.target_prefix)
        self.body = body
        self.logged_params = self.read()
        self.is_logged = self.action not in UNLOGGED

    def read(self) -> Any:
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            return None

    def error(self, code: str, message: str, status: int = 400) -> Response:
        body = json.dumps({"__type": code, "Message": message} if message else {"__type": code})
        return Response(body, status=status, content_type=CONTENT_TYPE)

    def internal_error(self) -> Response:
        return self.error("InternalServerError", "An internal error has occurred", 500)

    def not_enabled(self) -> Response:
        return self.error("UnrecognizedClientException", "The security token included in the request is invalid.")

    def carry_out(self, region: str, _: Json | None) -> Response:
        given = self.logged_params
        if not isinstance(given, dict):
            return self.error("SerializationException", "the body is no JSON object")
        act = CALLS.get(self.action)
        if act is None:
            return self.error("UnknownOperationException", f"the local SSM has no {self.action}")
        try:
            answer = act(region, given)
        except Refusal as refusal:
            return self.error(refusal.code, refusal.message, refusal.status)
        except KeyError as problem:
            return self.error("ValidationException", f"{self.action}: {problem} is missing")
        except Exception:
            LOG.exception("%s failed", self.action)
            return self.internal_error()
        return Response(json.dumps(answer), content_type=CONTENT_TYPE)

    def error_code(self, response: Response) -> str | None:
        return json.loads(response.get_data()).get("__type")

    def facts(self, _: str | None, response: Response) -> Json:
        """What the log says of this call and not of others: the command that it began, if any."""
        command = json.loads(response.get_data()).get("Command", {})
        return {"result": [command["CommandId"]] if command else []}
