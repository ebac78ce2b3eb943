"""What the functions print, which MiniStack keeps in its memory: files beside its own log.

functions.log   for each line of a function, {"function": its name, "line": the line}
tokens.log      the task tokens that functions were given, so that a test can say that none is in a log
"""

import json
import os
import threading
from pathlib import Path
from typing import Any

LOCK = threading.Lock()


def append(name: str, line: str) -> None:
    with LOCK, (Path(os.environ["LOCAL_CLOUD_LOGS"]) / name).open("a") as log:
        log.write(f"{line}\n")


class Copied:
    """The output of a function, each line of which is written down as it is read."""

    def __init__(self, function: str, stream: Any) -> None:
        self.function, self.stream = function, stream

    def readline(self) -> bytes:
        line = self.stream.readline()
        if line:
            text = line.decode("utf-8", errors="replace").rstrip("\r\n")
            append("functions.log", json.dumps({"function": self.function, "line": text}))
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def tokens_of(event: Any) -> list[str]:
    """The task tokens in an invocation's messages."""
    found = []
    for record in event.get("Records", []) if isinstance(event, dict) else []:
        try:
            body = json.loads(record.get("body", ""))
        except ValueError:
            continue
        if isinstance(body, dict) and isinstance(body.get("taskToken"), str):
            found.append(body["taskToken"])
    return found


def extend_ministack() -> None:
    from ministack.core.lambda_runtime import ProvidedWorker

    pump, invoke = ProvidedWorker._pump_output, ProvidedWorker.invoke

    def pump_and_copy(worker: Any, stream: Any, log_queue: Any) -> None:
        pump(worker, Copied(worker.func_name, stream), log_queue)

    def note_and_invoke(worker: Any, event: Any, *given: Any, **named: Any) -> Any:
        for token in tokens_of(event):
            append("tokens.log", token)
        return invoke(worker, event, *given, **named)

    ProvidedWorker._pump_output = pump_and_copy
    ProvidedWorker.invoke = note_and_invoke
