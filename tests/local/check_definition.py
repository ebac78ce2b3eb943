"""Checks the state machine's definition with statelint, as it is deployed.

    python tests/local/check_definition.py

`sam validate --lint` does not look into a definition file. The substitutions that
stand for numbers are unquoted in it, so it is JSON only once they are replaced.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DEFINITION = Path(__file__).resolve().parents[2] / "statemachine" / "backup.asl.json"

# AWS accepts both; statelint 3.1 does not know them yet.
FALSE_MESSAGES = (
    re.compile(r'Field "Label" not allowed in State Machine\.\S+$'),
    re.compile(r'Field "InputType" not allowed in State Machine\.\S+\.ItemReader\.ReaderConfig$'),
)


def substituted(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.endswith(("Concurrency", "Seconds")):
            return "5"
        return "arn:aws:lambda:eu-west-1:111122223333:function:f" if name.endswith("Arn") else "name"

    return re.sub(r"\$\{(\w+)\}", value, text)


def main() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as definition:
        definition.write(substituted(DEFINITION.read_text()))
        definition.flush()
        lint = subprocess.run(["statelint", definition.name], capture_output=True, text=True)
    lines = [line.strip() for line in (lint.stdout + lint.stderr).splitlines()]
    messages = [line for line in lines if line and not re.fullmatch(r"\d+ errors?:|One error:", line)]
    real = [line for line in messages if not any(known.search(line) for known in FALSE_MESSAGES)]
    if real:
        sys.exit("\n".join([f"{DEFINITION.name}:", *real]))
    if lint.returncode != 0 and not messages:
        sys.exit(f"statelint failed without a message (exit status {lint.returncode})")
    print(f"{DEFINITION.name}: no complaints of statelint")


if __name__ == "__main__":
    main()
