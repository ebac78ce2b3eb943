"""Tests of check_imports.py: a circle is found, whatever way it is written."""

import tempfile
import unittest
from pathlib import Path

from check_imports import circles, imports, modules


def graph_of(files: dict[str, str]) -> dict[str, set[str]]:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            file = Path(folder) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        known = modules(Path(folder))
        return {module: imports(module, file.read_text(), known) for module, file in known.items()}


class CheckImports(unittest.TestCase):
    def test_a_circle_of_two_files_is_found(self) -> None:
        graph = graph_of(
            {
                "lib.rs": "mod a;\nmod b;\npub use a::A;\n",
                "a.rs": "use crate::{\n    b::{B, c},\n};\n",
                "b.rs": "use super::a::A;\n",
            }
        )
        self.assertEqual(circles(graph), [["a", "b"]])

    def test_a_file_that_imports_from_the_root_that_imports_it_is_found(self) -> None:
        graph = graph_of({"lib.rs": "mod a;\nuse a::A;\npub struct Root;\n", "a.rs": "use crate::Root;\n"})
        self.assertEqual(circles(graph), [["", "a"]])

    def test_tests_and_other_crates_are_passed_over(self) -> None:
        graph = graph_of(
            {
                "lib.rs": "mod a;\nuse a::A;\n",
                "a.rs": "use serde::Serialize;\n#[cfg(test)]\nmod tests {\n    use crate::A;\n}\n",
                "a/tests.rs": "use super::*;\n",
            }
        )
        self.assertEqual(circles(graph), [])


if __name__ == "__main__":
    unittest.main()
