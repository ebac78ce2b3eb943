"""SSM's agents and commands: the script of a command really runs, as a process of this machine.

An agent is what a test says of an instance: whether SSM hears of it, and with
which environment its scripts run; it stands for the instance's own machine. As
the real one does, it writes the script to a file, has sh start it in a process
group of its own, and kills this group when the step's time-out is over.

What may become of a command, besides what its script does, are faults of the
action RunScript:

    answer        the script is not run, and has ended with `exitCode` (1) and `output`
    answer-after  it is run, and is reported to have ended so
    hang          it is not run, and nothing ends before the step's time-out
    hang-after    it is run, but seems to go on until the step's time-out
    silent        it is run, and nobody hears how it ended; the command expires
    late          it is delivered after so many `seconds`
    undelivered   it is delayed until its delivery time-out
    undeliverable it is given up at once
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ssm_documents
from ec2_resources import backend_of
from ec2_state import ACCOUNT, RUN_SCRIPT, WORLD
from ssm_documents import Document, Refusal

Json = dict[str, Any]
PING_STATUSES = ("Online", "ConnectionLost", "Inactive")
# What GetCommandInvocation shows of a script's output, in characters.
MAX_OUTPUT, MAX_ERRORS = 24000, 8000
# As the agent has it for a script that it has killed.
KILLED = 137
NOT_ENDED = -1
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Agent:
    region: str
    instance: str
    environment: dict[str, str]
    ping: str = "Online"

    @property
    def is_shown(self) -> bool:
        """An instance that is stopped or gone has no agent; one that EC2 does not know is what the test says."""
        known = backend_of(self.region).get_instance_by_id(self.instance)
        return known is None or known.state == "running"


# (region, instance) -> agent
AGENTS: dict[tuple[str, str], Agent] = {}
# id -> command
COMMANDS: dict[str, "Command"] = {}


@dataclass
class Command:
    """A command and its one invocation. What others read of it changes with the world locked."""

    agent: Agent
    document: Document
    version: int
    values: dict[str, list[str]]
    given: Json
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    requested: float = field(default_factory=time.time)
    begun: float = field(default_factory=time.monotonic)
    # Each status with the moment from which on it holds.
    history: list[tuple[float, Json]] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    fault: Json = field(default_factory=dict)

    @property
    def content(self) -> Json:
        return self.document.content(self.version)

    @property
    def delivery_seconds(self) -> int:
        return self.given.get("TimeoutSeconds", 3600)

    @property
    def step_seconds(self) -> int:
        return ssm_documents.seconds(self.content, self.values)

    def is_visible(self) -> bool:
        return time.monotonic() - self.begun >= WORLD.settings["invocationLagSeconds"]

    def shown(self) -> Json:
        """The status as SSM tells it by now."""
        known = time.monotonic() - WORLD.settings["statusLagSeconds"]
        return [status for at, status in self.history if at <= known or at == self.begun][-1]

    def become(self, status: str, details: str | None = None, **more: Any) -> None:
        with WORLD.lock:
            before = self.history[-1][1] if self.history else {"code": NOT_ENDED, "output": "", "errors": ""}
            at = time.monotonic() if self.history else self.begun
            self.history.append((at, {**before, "status": status, "details": details or status, **more}))

    def log(self, action: str, outcome: str = "ok", **more: Any) -> None:
        said = {name: values[0] for name, values in self.values.items() if name in ("command", "executionId")}
        entry = {"at": time.time(), "service": "ssm", "action": action, "region": self.agent.region, "outcome": outcome}
        entry["params"] = {"CommandId": self.id, "InstanceId": self.agent.instance, **said}
        if self.fault:
            entry["fault"] = self.fault["kind"]
        with WORLD.lock:
            WORLD.calls.append({**entry, "result": [], **more})

    # What follows runs in the command's own thread.

    def live(self) -> None:
        kind, scale = self.fault.get("kind"), WORLD.settings["commandTimeScale"]
        if kind == "late":
            self.become("Delayed")
            self.cancelled.wait(self.fault.get("seconds", 1))
        if self.ends_if_cancelled():
            return
        if kind == "undeliverable":
            self.become("Failed", "Undeliverable")
            return
        if kind == "undelivered":
            self.become("Delayed")
            self.cancelled.wait(self.delivery_seconds * scale)
            if not self.ends_if_cancelled():
                self.become("TimedOut", "DeliveryTimedOut")
            return
        self.become("InProgress", started=datetime.now(UTC))
        self.execute(kind, self.step_seconds * scale)
        if kind == "silent":
            self.cancelled.wait(max(0, (self.delivery_seconds + self.step_seconds) * scale - self.age()))
            if not self.cancelled.is_set():
                self.become("TimedOut", "DeliveryTimedOut")

    def age(self) -> float:
        return time.monotonic() - self.begun

    def ends_if_cancelled(self) -> bool:
        if self.cancelled.is_set():
            self.become("Cancelled")
        return self.cancelled.is_set()

    def execute(self, kind: str | None, limit: float) -> None:
        deadline = time.monotonic() + limit
        code, output, errors = NOT_ENDED, self.fault.get("output", ""), ""
        if kind in ("answer", "hang"):
            code = self.fault.get("exitCode", 1)
        else:
            code, output, errors = self.run_script(limit)
        if kind == "answer-after":
            code, output = self.fault.get("exitCode", 1), self.fault.get("output", output)
        if kind in ("hang", "hang-after"):
            self.cancelled.wait(max(0, deadline - time.monotonic()))
            code = None
        if kind == "silent":
            return
        facts = {
            "code": KILLED if code is None else code,
            "output": output[:MAX_OUTPUT],
            "errors": errors[:MAX_ERRORS],
            "ended": datetime.now(UTC),
        }
        if self.cancelled.is_set():
            self.become("Cancelled", **facts)
        elif code is None:
            self.become("TimedOut", "ExecutionTimedOut", **facts)
        else:
            self.become("Success" if code == 0 else "Failed", **facts)

    def run_script(self, limit: float) -> tuple[int | None, str, str]:
        """The script's exit code, None where it was killed, and what it wrote."""
        folder = Path(tempfile.mkdtemp(prefix="ssm-"))
        try:
            file = folder / "_script.sh"
            file.write_text(ssm_documents.script(self.content, self.values))
            file.chmod(0o700)
            self.log("ScriptStarted")
            code = self.attend(file, folder, limit)
            output, errors = ((folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
            self.log("ScriptEnded", "killed" if code is None else str(code))
            return code, output, errors
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def attend(self, file: Path, folder: Path, limit: float) -> int | None:
        environment = {
            "PATH": PATH,
            "AWS_SSM_INSTANCE_ID": self.agent.instance,
            "AWS_SSM_REGION_NAME": self.agent.region,
            **self.agent.environment,
        }
        with (folder / "stdout").open("wb") as output, (folder / "stderr").open("wb") as errors:
            with WORLD.lock:
                # Under the lock, so that whoever cancels finds either a process to kill, or none that will come.
                if self.cancelled.is_set():
                    return None
                self.process = subprocess.Popen(
                    ["sh", "-c", str(file)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=environment,
                    cwd="/",
                    process_group=0,
                )
            try:
                code = self.process.wait(limit)
            except subprocess.TimeoutExpired:
                self.kill()
                self.process.wait()
                return None
        return None if self.cancelled.is_set() else code if code >= 0 else 128 - code

    def kill(self) -> None:
        """Ends the script's process group, but not what has left it."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def cancel(self) -> None:
        if self.history[-1][1]["status"] in ("Pending", "InProgress", "Delayed") and self.fault.get("kind") != "silent":
            self.become("Cancelling")
            self.cancelled.set()
            self.kill()


def send(region: str, given: Json) -> Command:
    document = ssm_documents.find(region, given["DocumentName"])
    version = document.version(given.get("DocumentVersion"))
    instances = given.get("InstanceIds", [])
    if given.get("Targets") or len(instances) != 1:
        raise Refusal("ValidationException", "the local SSM sends a command to one instance id")
    agent = AGENTS.get((region, instances[0]))
    if agent is None or agent.ping != "Online" or not agent.is_shown:
        raise Refusal("InvalidInstanceId", f"Instances [[{instances[0]}]] not in a valid state for account {ACCOUNT}")
    values = ssm_documents.arguments(document.content(version), given.get("Parameters", {}))
    command = Command(agent, document, version, values, given)
    ssm_documents.seconds(command.content, values)
    command.fault = (
        WORLD.meet_fault(RUN_SCRIPT, region, instance=agent.instance, command=values.get("command", [""])[0]) or {}
    )
    command.become("Pending")
    COMMANDS[command.id] = command
    threading.Thread(target=command.live, daemon=True, name=f"ssm-{command.id}").start()
    return command


def forget() -> None:
    """Ends what is running, and forgets agents and commands, but not documents."""
    for command in COMMANDS.values():
        command.cancelled.set()
        command.kill()
    COMMANDS.clear()
    AGENTS.clear()
