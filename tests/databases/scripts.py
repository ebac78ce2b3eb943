"""The scripts as a test runs them: with settings and folders of their own, at a chosen time, and held in mid-dump."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[2] / "databases"
PASSWORD = "Korrekt-Pferd'Batterie"
# Sixty seconds on a busy machine; nothing here takes five.
PATIENCE = 60


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain until {what}")
        time.sleep(0.02)


def needs(*programs: tuple[str, str]) -> Callable:
    """Skips a class or a test where a package that .ci/run installs is not there."""
    missing = [
        package for program, package in programs if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    ]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


MARIADB = ("mariadbd", "mariadb-server")
FAKETIME = ("faketime", "faketime")
ZSTD = ("zstd", "zstd")


class ScriptTest(unittest.TestCase):
    """Gives each test a folder for dumps, and leaves no process and no file behind."""

    kind = "mariadb"

    def setUp(self) -> None:
        self.base = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="dumps-")))
        # The scratch server's own user passes through it.
        self.base.chmod(0o755)
        self.folder = self.made("dumps", 0o700)
        self.programs = self.made("programs", 0o755)
        self.temporary = self.made("temporary", 0o755)
        self.home = self.made("home", 0o700)
        self.option_file = self.written("client.cnf", f'[client]\npassword = "{PASSWORD}"\n', 0o600)
        self.settings = {
            "DB_BACKUP_FOLDER": str(self.folder),
            "DB_BACKUP_OPTION_FILE": str(self.option_file),
            "DB_BACKUP_SCRATCH_FOLDER": str(self.temporary),
            "DB_BACKUP_CONFIG": str(self.written("conf", "", 0o600)),
        }

    def tearDown(self) -> None:
        self.assertEqual(list(self.temporary.iterdir()), [], "temporary files were left")

    def made(self, name: str, mode: int) -> Path:
        folder = self.base / name
        folder.mkdir()
        folder.chmod(mode)
        return folder

    def written(self, name: str, text: str, mode: int) -> Path:
        file = self.base / name
        file.write_text(text)
        file.chmod(mode)
        return file

    def program(self, name: str, text: str) -> None:
        file = self.programs / name
        file.write_text(text)
        file.chmod(0o755)

    def start(self, *arguments: str, at: str | None = None, **settings: str | None) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "TZ": "UTC",
            **self.settings,
            **settings,
        }
        command = [str(SCRIPTS / f"{self.kind}-backup.sh"), *arguments]
        if at:
            command = ["faketime", "-f", f"@{at}", *command]
        process = subprocess.Popen(
            command,
            env={name: value for name, value in environment.items() if value is not None},
            # Bash cannot trap a signal that was ignored before it began, as in the background or under nohup.
            preexec_fn=heed_signals,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=PATIENCE)

    def run_script(self, *arguments: str, **options: str | None) -> tuple[int, str, str]:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=PATIENCE * 10)
        return process.returncode, out, err

    def dump(self, **options: str | None) -> None:
        """A dump that has to succeed without a word."""
        self.assertEqual(self.run_script(**options), (0, "", ""))

    def fails(self, *words: str, arguments: Sequence[str] = (), status: int = 1, **options: str | None) -> None:
        """A run that has to fail with these words, and to leave the folder as it was."""
        before = self.contents()
        code, out, err = self.run_script(*arguments, **options)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual((code, out), (status, ""), err)
        self.assertNotIn(PASSWORD, err)
        self.assertEqual(self.contents(), before)

    def contents(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.folder.iterdir() if file.name != ".lock"}

    def dumps(self) -> list[str]:
        return sorted(file.name for file in self.folder.iterdir() if file.suffix in (".gz", ".zst"))

    def manifest(self, dump: str | None = None) -> dict[str, Any]:
        dump = dump or self.dumps()[-1]
        return json.loads((self.folder / f"{dump}.json").read_text())

    def hold_compressor(self) -> tuple[Path, Path]:
        """The compressor stops after its first 64 KiB, and so does all before it, until the gate is opened."""
        gate, reached = self.written("gate", "", 0o644), self.base / "reached"
        reached.unlink(missing_ok=True)
        real = shutil.which("gzip")
        self.program(
            "gzip",
            f"""#!/bin/sh
case "$*" in *--decompress*) exec {real} "$@" ;; esac
{{ head -c 65536; : > '{reached}'; while [ -e '{gate}' ]; do sleep 0.05; done; cat; }} | {real} "$@"
""",
        )
        self.addCleanup(gate.unlink, missing_ok=True)
        return gate, reached

    def start_held(self, **options: str | None) -> tuple[subprocess.Popen[str], Path]:
        gate, reached = self.hold_compressor()
        process = self.start(**options)
        wait_until(lambda: reached.exists() or process.poll() is not None, "the dump is under way")
        self.assertIsNone(process.poll())
        return process, gate


def heed_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
