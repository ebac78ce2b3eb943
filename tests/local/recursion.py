"""Lambda's recursive-loop detection on queues, which MiniStack lacks.

On AWS a function that sends messages to the queue that invokes it is given some
16 of one chain. The next one is not handed to it: it comes back when its
visibility time-out is over, and in the end SQS moves it to the dead-letter
queue. A function whose RecursiveLoop is "Allow" is spared. AWS knows a chain by
the trace header, which MiniStack's SQS drops; here it is known by the task token
in a message's body, by its task where it has no token, else by the whole body.
"""

import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

MOST_ROUNDS = 16
# What is remembered is bounded: the chains that were seen last, and the last detections.
MOST_CHAINS = 5000
MOST_DETECTIONS = 1000
LOG = logging.getLogger("recursion")


def chain_of(body: str) -> str:
    """What all messages of one chain have in common."""
    try:
        content = json.loads(body)
    except ValueError:
        return body
    if isinstance(content, dict):
        content = content.get("taskToken") or content.get("task") or content
    return content if isinstance(content, str) else json.dumps(content, sort_keys=True)


class Chains:
    """The messages of each chain that a function was given, by their ids: one
    that is delivered again does not lengthen its chain."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.given: OrderedDict[tuple[str, str], set[str]] = OrderedDict()  # (function, chain) -> ids of its messages
        self.detections: deque[dict[str, Any]] = deque(maxlen=MOST_DETECTIONS)

    def lets_pass(self, function: str, body: str, message: str) -> bool:
        """Whether the function is given this message, which then counts."""
        key = (function, chain_of(body))
        with self.lock:
            ids = self.given.setdefault(key, set())
            self.given.move_to_end(key)
            if len(self.given) > MOST_CHAINS:
                self.given.popitem(last=False)
            if message not in ids and len(ids) >= MOST_ROUNDS:
                return False
            ids.add(message)
            return True

    def detected(self, function: str, queue: str, message: dict[str, Any]) -> None:
        found = {
            "at": time.time(),
            "function": function,
            "queue": queue,
            "chain": chain_of(message["body"]),
            "message": message["id"],
            "receiveCount": message["receive_count"],
        }
        LOG.warning(
            "recursive loop: %s is not given message %s of %s, which goes on for more than %d rounds",
            function,
            found["message"],
            queue,
            MOST_ROUNDS,
        )
        with self.lock:
            self.detections.append(found)

    def forget(self) -> None:
        with self.lock:
            self.given.clear()
            self.detections.clear()

    def listed(self) -> list[dict[str, Any]]:
        with self.lock:
            return list(self.detections)


CHAINS = Chains()


def extend_ministack() -> None:
    """Puts the detection into MiniStack's event source mapping, once per process."""
    from ministack.services import cloudwatch, lambda_svc
    from ministack.services.cloudformation import provisioners

    run_batch = lambda_svc._run_sqs_batch

    def run_what_may_pass(esm: Any, func_rec: Any, event: Any, batch: Any, queue_url: str, queue_name: str) -> None:
        function = esm["FunctionName"]
        if lambda_svc._functions.get(function, {}).get("recursive_loop") == "Allow":
            run_batch(esm, func_rec, event, batch, queue_url, queue_name)
            return
        passing = [one for one in batch if CHAINS.lets_pass(function, one["body"], one["id"])]
        for message in batch:
            if message not in passing:
                CHAINS.detected(function, queue_name, message)
                cloudwatch.record_metric(
                    "AWS/Lambda", "RecursiveInvocationsDropped", 1, "Count", {"FunctionName": function}
                )
        # The rest stays received, unanswered and invisible, and SQS does with it what it always does.
        if passing:
            ids = {message["id"] for message in passing}
            records = [record for record in event["Records"] if record["messageId"] in ids]
            run_batch(esm, func_rec, {"Records": records}, passing, queue_url, queue_name)

    def remembering(act: Callable[..., tuple[str, Any]], properties_at: int) -> Callable[..., tuple[str, Any]]:
        def act_and_remember(*given: Any, **named: Any) -> tuple[str, Any]:
            name, attributes = act(*given, **named)
            wanted = given[properties_at].get("RecursiveLoop", "Terminate")
            # The place of PutFunctionRecursionConfig, which MiniStack has.
            lambda_svc._functions[name]["recursive_loop"] = wanted
            return name, attributes

        return act_and_remember

    lambda_svc._run_sqs_batch = run_what_may_pass
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    handlers["create"] = remembering(handlers["create"], properties_at=1)
    handlers["update"] = remembering(handlers["update"], properties_at=2)
