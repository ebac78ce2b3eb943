"""The PostgreSQL server of a story: its data are on a disk image of its own, and a client commits all the time.

    python story_postgresql.py serve FOLDER            until standard input ends
    python story_postgresql.py rows IMAGE FOLDER       what a server has that starts from a copy of that image

`serve` prints a line of JSON when it is up: the image, and the settings of the hook; or why it cannot be had here. In
the end it prints when each commit was answered. Row n is that of the n-th commit.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from hook_servers import Postgres, Session, postgres_programs, rows_of_image
from hooks import PATH, WHY_NOT, Writer, mounted


def why_not() -> str:
    programs = ((str(postgres_programs() / "postgres"), "postgresql"), ("psql", "postgresql-client"))
    missing = [package for program, package in programs if not shutil.which(program, path=PATH)]
    return f"not installed: {', '.join(missing)}" if missing else WHY_NOT


def serve(folder: Path) -> None:
    if reason := why_not():
        say({"skipped": reason})
        return
    own = folder / "server"
    own.mkdir(mode=0o755)
    with mounted(folder, 256) as data:
        server = Postgres(own, data / "main")
        try:
            server.sql("CREATE TABLE orders (id INT PRIMARY KEY);")
            commits = commit_until_told(server, folder / "image")
        finally:
            # A server whose file system is frozen cannot stop.
            subprocess.run(["fsfreeze", "--unfreeze", data], capture_output=True)
            server.stop()
    say({"commits": commits})


def commit_until_told(server: Postgres, image: Path) -> list[float]:
    session, commits = Session(server.psql()), []

    def commit(number: int) -> None:
        session.sql(f"INSERT INTO orders VALUES ({number})")
        commits.append(time.time())

    with Writer(commit):
        settings = {"HOOK_POSTGRES_USER": server.user, "HOOK_POSTGRES_HOST": str(server.folder)}
        say({"image": str(image), "settings": settings})
        sys.stdin.read()
    session.close()
    return commits


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", folder]:
            serve(Path(folder))
        case ["rows", image, folder]:
            say({"rows": rows_of_image(Path(image), Path(folder), "orders")})
        case _:
            sys.exit(__doc__)
