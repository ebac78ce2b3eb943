"""Runs the tests of the database scripts, a process per class, and as many at once as there are processors.

Arguments are names of modules, classes or tests; without any, all are run.
"""

import os
import re
import shutil
import subprocess
import sys
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server import PATH, empty_data

HERE = Path(__file__).parent


def classes(suite: unittest.TestSuite) -> Iterator[str]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from classes(test)
        else:
            yield f"{type(test).__module__}.{type(test).__qualname__}"


def run(name: str) -> tuple[str, int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "--verbose", name],
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return name, done.returncode, done.stdout + done.stderr


def main() -> int:
    names = sys.argv[1:]
    if not names:
        names = sorted(set(classes(unittest.defaultTestLoader.discover(str(HERE)))))
    if shutil.which("mariadbd", path=PATH):
        os.environ["MARIADB_EMPTY_DATA"] = str(empty_data())
    passed = failed = 0
    skipped: dict[str, int] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, status, output in pool.map(run, names):
            words = re.findall(r"\.\.\. skipped '(.*)'$", output, re.MULTILINE)
            for reason in words:
                skipped[reason] = skipped.get(reason, 0) + 1
            good = len(re.findall(r"\.\.\. ok$", output, re.MULTILINE))
            passed += good
            if status:
                ran = re.search(r"^Ran (\d+) test", output, re.MULTILINE)
                failed += max(1, int(ran[1]) - good - len(words)) if ran else 1
                print(f"{name}:\n{output}")
            elif "DATABASES_LOAD" in os.environ:
                print("\n".join(line for line in output.splitlines() if " MB" in line))
    for reason, count in sorted(skipped.items()):
        print(f"{count} skipped: {reason}")
    print(f"{passed} passed, {failed} failed, {sum(skipped.values())} skipped")
    return 1 if failed else 0


sys.exit(main())
