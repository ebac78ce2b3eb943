"""Database servers of a test's own, with their data on a file system of its own, which is how hooks are used."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hooks import PATH, PATIENCE, wait_until


def owner(name: str) -> str:
    return name if name in {user.pw_name for user in pwd.getpwall()} else "nobody"


def postgres_programs() -> Path:
    """Debian has them outside of PATH, a folder for each version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return folders[-1] if folders else Path()


class MariaDb:
    """On a socket in `folder`, with its data in `data`; commits are on disk before they are answered."""

    def __init__(self, folder: Path, data: Path, *options: str) -> None:
        self.socket, self.log, self.data = folder / "socket", folder / "log", data / "mariadb"
        self.environment = {**os.environ, "PATH": PATH}
        user = owner("mysql")
        small = ["--innodb-log-file-size=8M"]
        self.data.mkdir()
        for path in (folder, self.data):
            shutil.chown(path, user)
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}", f"--user={user}", "--skip-test-db"]
        self.run([*install, "--auth-root-authentication-method=normal", *small])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    shutil.which("mariadbd", path=PATH),
                    "--no-defaults",
                    f"--datadir={self.data}",
                    f"--socket={self.socket}",
                    f"--pid-file={folder}/pid",
                    f"--user={user}",
                    "--skip-networking",
                    "--innodb-buffer-pool-size=16M",
                    "--skip-name-resolve",
                    *small,
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self.process.poll() is not None or self.answers(), "MariaDB answers")
        if self.process.poll() is not None:
            raise AssertionError(self.log.read_text()[-2000:])

    def run(self, command: list[str], **more: Any) -> None:
        subprocess.run(command, check=True, capture_output=True, env=self.environment, **more)

    def client(self, *arguments: str) -> list[str]:
        return ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", "--batch", "-N", *arguments]

    def answers(self) -> bool:
        return (
            subprocess.run(self.client("--execute=SELECT 1"), capture_output=True, env=self.environment).returncode == 0
        )

    def sql(self, text: str) -> list[list[str]]:
        """The rows, as lists of strings."""
        done = subprocess.run(self.client(), input=text, capture_output=True, text=True, env=self.environment)
        if done.returncode:
            raise AssertionError(done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE)


class Postgres:
    """On a socket in `folder`, with its data in `data`."""

    def __init__(self, folder: Path, data: Path, is_new: bool = True) -> None:
        self.folder, self.data, self.programs = folder, data, postgres_programs()
        self.user = owner("postgres")
        shutil.chown(folder, self.user)
        if is_new:
            shutil.chown(data.parent, self.user)
            self.run(self.programs / "initdb", "--auth=trust", "--no-sync", "--username=postgres", f"--pgdata={data}")
        self.log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            self.as_user(
                self.programs / "postgres",
                "-D",
                str(data),
                "-k",
                str(folder),
                "-c",
                "listen_addresses=",
                "-c",
                "shared_buffers=16MB",
                "-c",
                "max_wal_size=64MB",
            ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        wait_until(lambda: self.process.poll() is not None or self.answers(), "PostgreSQL answers")
        if self.process.poll() is not None:
            self.log.close()
            raise AssertionError((folder / "log").read_text()[-2000:])

    def as_user(self, *command: Path | str) -> list[str]:
        user = pwd.getpwnam(self.user)
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *map(str, command)]

    def run(self, *command: Path | str, **more: Any) -> None:
        subprocess.run(self.as_user(*command), check=True, capture_output=True, cwd="/", **more)

    def psql(self, *arguments: str) -> list[str]:
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-U", "postgres"]
        return ["psql", *options, "-d", "postgres", *arguments]

    def answers(self) -> bool:
        return subprocess.run(self.psql("-c", "SELECT 1"), capture_output=True).returncode == 0

    def sql(self, text: str) -> list[list[str]]:
        done = subprocess.run(self.psql(), input=text, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stderr)
        return [line.split("|") for line in done.stdout.splitlines()]

    def stop(self) -> None:
        # Fast shutdown: sessions are ended.
        if self.process.poll() is None:
            self.process.send_signal(2)
        self.process.wait(PATIENCE)
        self.log.close()


def rows_of_image(image: Path, folder: Path, table: str) -> int:
    """How many rows a table has in a PostgreSQL server that starts from the image of its file system.

    They have to be the first ones that were written, without a gap.
    """
    mount, own = folder / "restored", folder / "restored-server"
    folder.chmod(0o755)
    mount.mkdir()
    own.mkdir(mode=0o755)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        # It names a process of the machine that the image is from, which here is this one.
        (mount / "main/postmaster.pid").unlink()
        server = Postgres(own, mount / "main", is_new=False)
        try:
            count, last = server.sql(f"SELECT COUNT(*), COALESCE(MAX(id), 0) FROM {table}")[0]
        finally:
            server.stop()
    finally:
        subprocess.run(["umount", mount], check=True)
    if count != last:
        raise AssertionError(f"{count} rows, and the last is {last}")
    return int(count)


class Session:
    """One open client session, in which statements are carried out one after another."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            env={**os.environ, "PATH": PATH},
        )

    def sql(self, text: str, answer: str = "done") -> None:
        """Carries out a statement that answers nothing, and waits for it."""
        self.process.stdin.write(f"{text}; SELECT '{answer}';\n")
        line = self.process.stdout.readline().strip()
        if line != answer:
            raise AssertionError(f"{text}: {line or 'the session has ended'}")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()
