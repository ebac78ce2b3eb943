"""Headless Chromium, steered over a pipe by its DevTools protocol: nothing listens, and nothing more is needed.

Messages are JSON, each ended by a zero byte: the browser reads them from its file descriptor 3 and writes them to 4
(`--remote-debugging-pipe`).
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    # Nothing is opened but files of this project; as root, and in most containers, the sandbox does not start.
    "--no-sandbox",
)
# In a process of its own: the two descriptors must be 3 and 4, whatever they are here.
BEGIN = (
    "import os, sys; read, write = map(int, sys.argv[1:3]); "
    "os.dup2(read, 3); os.dup2(write, 4); os.execv(sys.argv[3], sys.argv[3:])"
)
# Longer than any answer takes.
PATIENCE = 60.0


def found() -> str | None:
    """The path of a browser; none where there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One tab of a browser."""

    def __init__(self, process: subprocess.Popen[bytes], read: int, write: int) -> None:
        self.process, self.read, self.write = process, read, write
        self.rest, self.last, self.session = b"", 0, None
        # What the page did since it was opened: method and parameters.
        self.events: list[tuple[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive(method)
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def receive(self, wanted: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], max(0, deadline - time.monotonic()))
            more = os.read(self.read, 1 << 20) if ready else b""
            if not more:
                raise RuntimeError(f"the browser did not answer {wanted}")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        answer = json.loads(message)
        if "method" in answer:
            self.events.append((answer["method"], answer["params"]))
        return answer

    def wait(self, event: str) -> None:
        while not any(method == event for method, _ in self.events):
            self.receive(event)

    def open(self, page: Path, width: int, theme: str, media: str = "screen") -> None:
        """Opens a page at a width, and waits until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": theme}]
        )
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")


@contextmanager
def browser(path: str) -> Iterator[Browser]:
    """A browser with a profile of its own, ended at the end."""
    with tempfile.TemporaryDirectory(prefix="ebs-snapshots-browser-", ignore_cleanup_errors=True) as profile:
        to_browser, from_browser = os.pipe(), os.pipe()
        # Out of the way of 3 and 4.
        read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_browser[0], from_browser[1]))
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                BEGIN,
                str(read),
                str(write),
                path,
                *FLAGS,
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(read, write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (read, write, to_browser[0], from_browser[1]):
            os.close(fd)
        try:
            tab = Browser(process, from_browser[0], to_browser[1])
            yield tab
            tab.session = None
            tab.call("Browser.close")
            process.wait(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
            os.close(from_browser[0])
            os.close(to_browser[1])
