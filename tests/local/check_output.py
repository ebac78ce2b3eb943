"""Checks the command line's JSON against its documented schema.

    python tests/local/check_output.py < DOCUMENTS

Run it with the tools environment's Python. DOCUMENTS is a JSON list of answers of
`ebs-snapshots --output json`. It prints what is wrong, as a JSON list of sentences. A
field that the schema does not name is wrong, too: it would be undocumented.
"""

import json
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

SCHEMA = Path(__file__).resolve().parents[2] / "docs/cli.schema.json"


def main() -> None:
    schema = strict(json.loads(SCHEMA.read_text()))
    Draft202012Validator.check_schema(schema)
    print(json.dumps([problem for document in json.load(sys.stdin) for problem in problems(schema, document)]))


def problems(schema: dict[str, Any], document: Any) -> list[str]:
    # The data by itself, so that what is wrong is named, and not that no alternative fits.
    command = document.get("command") if isinstance(document, dict) else None
    definition = schema["$defs"].get(str(command).replace(" ", "-"))
    if definition is None:
        return [f"the schema has no command {command!r}"]
    whole = {"$defs": schema["$defs"], **schema["$defs"]["answer"]}
    data = {"$defs": schema["$defs"], **definition}
    found = [*validator(whole).iter_errors(document), *validator(data).iter_errors(document.get("data"))]
    return [f"{command}: {'/'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=FormatChecker())


def strict(schema: Any) -> Any:
    """The schema, in which every object has the documented fields and no others."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: strict(each) for name, each in schema.items()}
    if "properties" in changed and isinstance(schema.get("type"), str):
        changed.setdefault("additionalProperties", False)
    return changed


if __name__ == "__main__":
    main()
