"""Checks of queues, of the functions that work them off, and of the alarms that tell what goes wrong."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from template_project import Project, as_list, named, statements, triggers, variables


def may(project: Project, role: str, action: str, resource: str) -> bool:
    """Whether a role is granted an action on a resource of the template, by name or by a wildcard."""
    service = action.split(":")[0]
    for policy in project.of_type("AWS::IAM::Role")[role].get("Policies", []):
        for statement in statements(policy):
            actions = as_list(statement["Action"])
            on = [one if isinstance(one, str) else named(one) for one in as_list(statement["Resource"])]
            granted = {action, f"{service}:*", "*"} & set(actions)
            if statement["Effect"] == "Allow" and granted and {resource, "*"} & set(on):
                return True
    return False


def alarmed(project: Project, namespace: str, metric: str, dimension: str, value: Any) -> bool:
    """Whether the first of something already sets off an alarm that is sent to the notification topic."""
    wanted = {
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": [{"Name": dimension, "Value": value}],
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    return any(
        all(alarm.get(name) == value for name, value in wanted.items())
        and any(named(action) == "NotificationTopic" for action in alarm.get("AlarmActions", []))
        for alarm in project.of_type("AWS::CloudWatch::Alarm").values()
    )


def loops_are_allowed(project: Project) -> Iterator[str]:
    """Waiting is sending to one's own queue: Lambda stops that after some 16 rounds unless it is told not to."""
    for name, function in project.functions.items():
        for queue in triggers(function):
            sends = may(project, named(function["Role"]), "sqs:SendMessage", queue)
            if sends and function.get("RecursiveLoop") != "Allow":
                yield f"{name} may send to {queue}, which triggers it, and has no RecursiveLoop: Allow."


def work_queues_have_dead_letters(project: Project) -> Iterator[str]:
    """What cannot be worked off is kept, and apart from what other workers could not do."""
    targets = {queue: project.dead_letter_queue(queue) for queue in project.work_queues}
    yield from (f"{queue} has no dead-letter queue." for queue, target in targets.items() if not target)
    for target, times in Counter(filter(None, targets.values())).items():
        if times > 1:
            yield f"{target} takes the dead letters of {times} queues: each has one of its own."


def idle_queues_are_watched(project: Project) -> Iterator[str]:
    """What no function works off waits for a person, who is told: dead letters, the schedule's among them."""
    for queue in project.queues.keys() - project.work_queues.keys():
        size, name = "ApproximateNumberOfMessagesVisible", {"Fn::GetAtt": [queue, "QueueName"]}
        if not alarmed(project, "AWS/SQS", size, "QueueName", name):
            yield f"{queue} triggers no function, and no alarm tells of the first message in it."


def messages_are_hidden_for_six_time_outs(project: Project) -> Iterator[str]:
    """Lambda asks for so much; with more, what a function that crashed had in hand only waits longer."""
    for queue, name in project.work_queues.items():
        # SQS's own default is 30 seconds.
        hidden, wanted = project.queues[queue].get("VisibilityTimeout", 30), 6 * project.functions[name]["Timeout"]
        if hidden != wanted:
            yield f"{queue} hides a message for {hidden} s: six times the time-out of {name} is {wanted} s."


def receive_counts_agree(project: Project) -> Iterator[str]:
    """The worker gives up by itself on the last delivery, and says why: it has to know which one that is."""
    for queue, name in project.work_queues.items():
        counts = str(project.queues[queue].get("RedrivePolicy", {}).get("maxReceiveCount"))
        told = variables(project.functions[name]).get("MAX_RECEIVE_COUNT")
        if counts != told:
            yield f"{queue} delivers {counts} times, and {name} is told {told} in MAX_RECEIVE_COUNT."


def workers_are_told_their_own_queues(project: Project) -> Iterator[str]:
    """A worker waits through the queue that triggers it, and fails into the one that SQS itself would move to."""
    for queue, name in project.work_queues.items():
        own = {"QUEUE_URL": queue, "DEAD_LETTER_QUEUE_URL": project.dead_letter_queue(queue)}
        for variable, wanted in own.items():
            given = named(variables(project.functions[name]).get(variable))
            # A dead-letter queue that is missing is found above.
            if wanted and given != wanted:
                yield f"{name} is given {given or 'nothing'} as {variable}: it works off {queue}, so that is {wanted}."


def dead_letter_queues_go_by_the_names_of_their_queues(project: Project) -> Iterator[str]:
    """SNAPSHOT_DEAD_LETTER_QUEUE_URL is where SnapshotQueue's dead letters go; somebody looks through those of each."""
    suffix = "_DEAD_LETTER_QUEUE_URL"
    given = {variable for function in project.functions.values() for variable in variables(function)}
    for queue in project.work_queues:
        variable = f"{queue.removesuffix('Queue').upper()}{suffix}"
        if variable not in given:
            yield f"No function is given {variable}: nobody looks through the dead letters of {queue}."
    for name, function in project.functions.items():
        for variable, value in variables(function).items():
            if not variable.endswith(suffix):
                continue
            queue = f"{variable.removesuffix(suffix).title()}Queue"
            wanted = project.dead_letter_queue(queue) if queue in project.work_queues else ""
            if not wanted or named(value) != wanted:
                is_given = f"{name} is given {named(value) or 'no queue'} as {variable}"
                yield f"{is_given}: the dead letters of {queue} are in {wanted or 'none'}."


def functions_are_watched(project: Project) -> Iterator[str]:
    """A function that fails, that is throttled, or whose waiting is stopped."""
    for name, function in project.functions.items():
        metrics = ["Errors", "Throttles", *(["RecursiveInvocationsDropped"] if triggers(function) else [])]
        for metric in metrics:
            if not alarmed(project, "AWS/Lambda", metric, "FunctionName", {"Ref": name}):
                yield f"{name} has no alarm on {metric}."


def runs_are_watched(project: Project) -> Iterator[str]:
    """An execution that ends without having been complete."""
    for name in project.of_type("AWS::Serverless::StateMachine"):
        for metric in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"):
            if not alarmed(project, "AWS/States", metric, "StateMachineArn", {"Ref": name}):
                yield f"{name} has no alarm on {metric}."


CHECKS = (
    loops_are_allowed,
    work_queues_have_dead_letters,
    idle_queues_are_watched,
    messages_are_hidden_for_six_time_outs,
    receive_counts_agree,
    workers_are_told_their_own_queues,
    dead_letter_queues_go_by_the_names_of_their_queues,
    functions_are_watched,
    runs_are_watched,
)
