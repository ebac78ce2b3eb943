"""The hooks as a test runs them: each script as the template has it, on file systems of the test's own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/local"))

import hook_documents  # noqa: E402

# Sixty seconds on a busy machine; nothing here takes five.
PATIENCE = 60
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"


def can_mount() -> str:
    """Whether this machine lets a test mount and freeze a file system of its own; else why not."""
    if os.geteuid() != 0:
        return "not root: no file systems can be mounted and frozen"
    missing = [name for name in ("mkfs.ext4", "mount", "umount", "fsfreeze") if not shutil.which(name, path=PATH)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    with tempfile.TemporaryDirectory(prefix="hook-") as folder:
        try:
            with mounted(Path(folder), 8) as mount:
                subprocess.run(["fsfreeze", "--freeze", mount], check=True, capture_output=True)
        except subprocess.CalledProcessError as problem:
            return f"file systems cannot be mounted and frozen here: {problem.stderr.decode().strip()}"
    return ""


@contextlib.contextmanager
def mounted(folder: Path, megabytes: int, kind: str = "ext4") -> Iterator[Path]:
    """A file system in a file; at the end it is thawed and unmounted, and its loop device goes with it."""
    image, mount = folder / "image", folder / "data"
    mount.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(megabytes * 1024 * 1024)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True, capture_output=True)
    try:
        yield mount
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", mount], capture_output=True)
        subprocess.run(["umount", mount], check=True, capture_output=True)


WHY_NOT = can_mount()
needs_mounts = unittest.skipIf(WHY_NOT, WHY_NOT)


def needs(*programs: tuple[str, str]) -> Callable[[Any], Any]:
    missing = [package for program, package in programs if not shutil.which(program, path=PATH)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain until {what}")
        time.sleep(0.02)
    return found


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.said = json.loads(out.splitlines()[-1])
        self.consistency, self.reason = self.said["consistency"], self.said.get("reason", "")


class HookTest(unittest.TestCase):
    """Gives each test a state folder, and leaves nothing frozen and no process behind."""

    kind = "filesystem"
    settings: ClassVar[dict[str, str]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        cls.base = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="hook-")))
        cls.base.chmod(0o755)

    def setUp(self) -> None:
        self.own = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="hook-state-")))
        self.state = self.own / "state"
        self.execution = str(uuid.uuid4())
        self.environment = {
            "PATH": PATH,
            "HOOK_STATE_FOLDER": str(self.state),
            "HOOK_CONFIG": str(self.own / "none"),
            **self.settings,
        }
        self.addCleanup(self.end_holders)

    def end_holders(self) -> None:
        """Whatever a test has left frozen is thawed. A holder is no child of this process: its folder tells of it."""
        for folder in self.folders():
            if self.read(folder, "state") in ("preparing", "frozen"):
                self.run_hook("post-script", folder.name)
            self.assertNotIn(self.read(folder, "state"), ("preparing", "frozen", "stuck"), self.read(folder, "log"))
            # Processes of the hook have this folder in their environment; they end by themselves.
            wait_until(lambda: not self.processes(), "all processes of the hook have ended")

    def processes(self) -> list[str]:
        wanted = f"HOOK_STATE_FOLDER={self.state}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    found.append(process.name)
        return found

    def folders(self) -> list[Path]:
        return [each for each in self.state.glob("*") if each.is_dir()]

    def read(self, folder: Path, name: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (folder / name).read_text().strip()
        return ""

    def remembered(self, name: str, execution: str | None = None) -> str:
        return self.read(self.state / (execution or self.execution), name)

    def start(self, command: str, execution: str | None = None, **parameters: str) -> subprocess.Popen[str]:
        """As the agent starts it, in a process group of its own."""
        values = {"executionTimeout": "30", "freezeSeconds": "30", "mode": "", "paths": "", **parameters}
        values.update(command=command, executionId=execution or self.execution)
        text = hook_documents.script(self.kind)
        for name, value in values.items():
            text = text.replace("{{ " + name + " }}", value)
        file = self.own / f"script-{uuid.uuid4()}.sh"
        file.write_text(text)
        file.chmod(0o700)
        process = subprocess.Popen(
            ["sh", "-c", str(file)],
            env=self.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)

    def finish(self, process: subprocess.Popen[str]) -> Answer:
        out, err = process.communicate(timeout=PATIENCE)
        return Answer(process.returncode, out, err)

    def run_hook(self, command: str, execution: str | None = None, **parameters: str) -> Answer:
        return self.finish(self.start(command, execution, **parameters))

    def pre(self, execution: str | None = None, **parameters: str) -> Answer:
        """A pre-script that has to succeed."""
        answer = self.run_hook("pre-script", execution, **parameters)
        self.assertEqual((answer.code, answer.consistency, answer.err), (0, "application", ""))
        return answer

    def refused(
        self, code: int, *words: str, command: str = "pre-script", execution: str | None = None, **parameters: str
    ) -> Answer:
        answer = self.run_hook(command, execution, **parameters)
        self.assertEqual((answer.code, answer.consistency), (code, "crash"), answer.reason)
        for word in words:
            self.assertIn(word, answer.reason)
        return answer

    def post(self, code: int = 0, consistency: str = "application", execution: str | None = None) -> Answer:
        answer = self.run_hook("post-script", execution)
        self.assertEqual((answer.code, answer.consistency), (code, consistency), answer.reason)
        return answer


class Writer:
    """Calls `write` with 1, 2, 3 … in a thread, and knows which calls have returned, and when."""

    def __init__(self, write: Callable[[int], None]) -> None:
        self.write = write
        self.done: list[tuple[int, float]] = []
        self.failure: Exception | None = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.go, daemon=True)

    def __enter__(self) -> "Writer":
        self.thread.start()
        wait_until(lambda: self.done or self.failure, "the writer writes")
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join(PATIENCE)
        if self.failure:
            raise self.failure

    def go(self) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            try:
                self.write(number)
            except Exception as failure:
                self.failure = failure
                return
            self.done.append((number, time.monotonic()))

    def count(self) -> int:
        return len(self.done)

    def goes_on(self) -> None:
        before = self.count()
        wait_until(lambda: self.count() > before + 1 or self.failure, "the writer goes on")

    def waits(self, seconds: float = 0.4) -> bool:
        """Whether it has written nothing, once the write that was under way has returned or waits."""
        time.sleep(0.1)
        before = self.count()
        time.sleep(seconds)
        return self.count() == before
