"""What is wrong with the sections that alarms name, and with the commands that documents show.

    python tests/local/check_documents.py

Somebody who was woken at night looks for a section, and pastes a command: both have to exist. test_documents.py follows
the links.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What an alarm or a report says of the runbook, with the words of a heading; it may be broken over lines.
QUOTED = re.compile(r'"([A-Z][^"]{3,80})"\s+in\s+(docs/[\w.-]+\.md|README\.md)')


def documents() -> dict[str, str]:
    """Path and text of all documents that people read."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def headings(text: str) -> list[str]:
    outside = re.sub(r"^( *)```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#{1,6} +(.+?) *$", outside, flags=re.MULTILINE)


def sources() -> dict[str, str]:
    """What names sections of documents, in alarms and reports."""
    paths = [ROOT / "template.yaml", *ROOT.glob("workers/*/src/**/*.rs"), *ROOT.glob("cli/src/**/*.rs")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted(paths)}


def unknown_sections(texts: Mapping[str, str], named_by: Mapping[str, str]) -> Iterator[str]:
    """Words that an alarm or a report gives for a section, and that stand in none of its headings."""
    for path, text in named_by.items():
        for words, document in QUOTED.findall(text.replace('\\"', '"')):
            wanted = " ".join(words.split())
            if not any(wanted.lower() in heading.lower() for heading in headings(texts.get(document, ""))):
                yield f'{path}: {document} has no heading with the words "{wanted}"'


def command_line(args: str) -> tuple[set[str], set[str]]:
    """The commands of the command line (`status`, `dlq list`), and the options of all of them."""
    commands = {kebab(name) for name in variants(args, "Command")} - {"dlq"}
    commands |= {f"dlq {kebab(name)}" for name in variants(args, "Dlq")}
    options = {"--help", "--version"}
    for attribute, field in re.findall(r"#\[arg\(([^]]*)\)\]\s*(?:pub )?(\w+):", args):
        named = re.search(r'\blong = "([\w-]+)"', attribute)
        if named:
            options.add(f"--{named[1]}")
        elif re.search(r"\blong\b", attribute):
            options.add(f"--{field.replace('_', '-')}")
    return commands, options


def arguments() -> str:
    """The source of the command line's arguments."""
    paths = [ROOT / "cli/src/args.rs", *sorted((ROOT / "cli/src/args").glob("*.rs"))]
    return "\n".join(path.read_text() for path in paths)


def variants(args: str, enum: str) -> list[str]:
    body = args.split(f"pub enum {enum} {{")[1].split("\n}\n")[0]
    return re.findall(r"^    ([A-Z]\w+)\b", body, flags=re.MULTILINE)


def kebab(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"-\1", name).lower()


def shown_commands(text: str) -> list[str]:
    """The calls of `ebs-snapshots` in code spans and in lines of fenced blocks."""
    blocks = re.findall(r"^ *```.*?\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL))
    calls = (re.match(r"ebs-snapshots( [^|#]*|$)", line) for line in [*lines, *spans])
    return [call[0].strip() for call in calls if call]


def unknown_commands(texts: Mapping[str, str], args: str) -> Iterator[str]:
    """Commands and options of `ebs-snapshots` that it does not have."""
    commands, options = command_line(args)
    for path, text in texts.items():
        for call in shown_commands(text):
            words = call.split()[1:]
            for option in re.findall(r"--[\w-]+", call):
                if option not in options:
                    yield f"{path}: {call}: there is no option {option}"
            named = words[:2] if words[:1] == ["dlq"] else words[:1]
            # Without a command it is the program's name, or an option of all commands.
            if named and not named[0].startswith("-") and " ".join(named) not in commands and named != ["dlq"]:
                yield f"{path}: {call}: there is no command {' '.join(named)}"


def unknown_outputs(texts: Mapping[str, str], template: str) -> Iterator[str]:
    """Outputs of the stack that commands ask for, and the template does not have."""
    outputs = set(re.findall(r"^  (\w+):$", template.split("\nOutputs:\n")[1], flags=re.MULTILINE))
    for path, text in texts.items():
        for name in re.findall(r"\$\(out (\w+)\)", text):
            if name not in outputs:
                yield f"{path}: $(out {name}): the template has no such output"


def main() -> None:
    texts = documents()
    args, template = arguments(), (ROOT / "template.yaml").read_text()
    found = [
        *unknown_sections(texts, sources()),
        *unknown_commands(texts, args),
        *unknown_outputs(texts, template),
    ]
    if found:
        sys.exit("\n".join(found))
    print(f"{len(texts)} documents: sections, commands and outputs are as they are named")


if __name__ == "__main__":
    main()
