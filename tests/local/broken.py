"""The project with a text that was broken, for the tests of the checks of template and definition."""

import unittest
from collections.abc import Callable, Iterator

from template_project import Project

TEMPLATE, README = "template.yaml", "README.md"


def broken(path: str, old: str, new: str) -> Project:
    """The project with another text in the first place where one stands in a file."""
    text = Project().text(path)
    if old not in text:
        raise AssertionError(f"{path} has no {old!r} to break")
    return Project({path: text.replace(old, new, 1)})


class CheckTest(unittest.TestCase):
    def finds(self, check: Callable[[Project], Iterator[str]], path: str, old: str, new: str, *sentences: str) -> None:
        """A check finds this, and nothing else, in what was broken."""
        self.assertEqual(sorted(check(broken(path, old, new))), sorted(sentences))
