"""Checks that the files of a crate do not import each other in a circle.

A file that can be read without another one that needs it is the first thing that a newcomer asks for.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
USE = re.compile(r"\buse (?:(crate|super|self)::)?((?:[^;{]|\{[^;]*\})+);")


def modules(source: Path) -> dict[str, Path]:
    """The modules of a crate by their path, tests left out; the crate's root is the empty path."""
    found = {}
    for file in sorted(source.rglob("*.rs")):
        parts = file.relative_to(source).with_suffix("").parts
        if "tests" not in parts and parts[-1] != "main":
            found["" if parts == ("lib",) else "::".join(parts)] = file
    return found


def first_names(tree: str) -> list[str]:
    """The paths at the top of a use tree: `{a::{b, c}, d}` gives `a::{b, c}` and `d`."""
    tree = tree.strip()
    if not tree.startswith("{"):
        return [tree]
    depth, names, name = 0, [], ""
    for character in tree[1:-1]:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            names.append(name)
            name = ""
        else:
            name += character
    return [name.strip() for name in [*names, name] if name.strip()]


def imports(module: str, text: str, known: dict[str, Path]) -> set[str]:
    """The modules of the same crate that a module's text imports."""
    text = text.split("#[cfg(test)]")[0]
    found = set()
    for origin, tree in USE.findall(text):
        base = {"crate": "", "super": module.rpartition("::")[0]}.get(origin, module)
        for path in first_names(tree):
            parts = [part for part in f"{base}::{path.split('{')[0]}".split("::") if part]
            # The longest beginning of the path that is a module; else an item of the root or of the parent.
            while parts and "::".join(parts) not in known:
                parts.pop()
            # A path without an origin that names no module of this one is another crate's.
            if origin or len(parts) > len([part for part in module.split("::") if part]):
                found.add("::".join(parts))
    return found - {module}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The circles of a graph, each once, beginning with its first name."""
    found = set()

    def walk(node: str, path: tuple[str, ...]) -> None:
        if node in path:
            circle = path[path.index(node) :]
            first = circle.index(min(circle))
            found.add(circle[first:] + circle[:first])
            return
        for following in sorted(graph.get(node, ())):
            walk(following, (*path, node))

    for node in sorted(graph):
        walk(node, ())
    return [list(circle) for circle in sorted(found)]


def main() -> int:
    """Prints every circle; 1 where there is one."""
    failed = 0
    for source in sorted(ROOT.glob("*/*/src")) + sorted(ROOT.glob("*/src")):
        known = modules(source)
        graph = {module: imports(module, file.read_text(), known) for module, file in known.items()}
        for circle in circles(graph):
            names = [name or "lib" for name in [*circle, circle[0]]]
            print(f"{source.relative_to(ROOT)}: {' -> '.join(names)}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
