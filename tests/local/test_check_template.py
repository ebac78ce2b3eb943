"""The checks of template and definition as a whole; those of one kind are tested in `test_template_*.py`."""

import unittest
import unittest.mock
from pathlib import Path

import check_template
import hook_documents
from broken import TEMPLATE, CheckTest, broken
from check_definition import DEFINITIONS, REPORT, maps_have_the_labels_that_the_report_knows
from check_template import the_architecture_is_named_once, the_documents_are_written_from_their_scripts
from template_project import Project


class Checks(CheckTest):
    def test_each_finds_nothing_in_the_project_as_it_is_and_is_tried_here(self):
        tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
        for check in (*check_template.CHECKS, maps_have_the_labels_that_the_report_knows):
            with self.subTest(check.__name__):
                self.assertEqual(list(check(Project())), [])
                self.assertRegex(tests, rf"self\.finds\(\s*{check.__name__},")

    def test_what_one_finds_fails_the_command(self):
        with self.assertRaisesRegex(SystemExit, "SnapshotQueue hides a message for 60 s"):
            check_template.main(broken(TEMPLATE, "VisibilityTimeout: 360", "VisibilityTimeout: 60"))

    def test_a_template_that_is_no_yaml_fails_the_command(self):
        with self.assertRaisesRegex(SystemExit, "template.yaml"):
            check_template.main(broken(TEMPLATE, "\nResources:\n", "\nResources:\n  - : -\n"))

    def test_architectures_that_make_build_would_not_replace(self):
        for wrong, named in {"[arm64, x86_64]": "arm64, x86_64", "['arm64']": "arm64", "[!Ref Cpu]": "nothing"}.items():
            self.finds(
                the_architecture_is_named_once,
                TEMPLATE,
                "Architectures: [arm64]",
                f"Architectures: {wrong}",
                "Globals has to say `Architectures: [arm64]`, and nothing else may name one: the template names "
                f"{named}.",
            )

    def test_documents_that_were_changed_in_the_template_or_are_too_long(self):
        differs = "The hooks' documents are not those of databases/documents: `make documents` writes them."
        self.finds(the_documents_are_written_from_their_scripts, TEMPLATE, "fsfreeze --freeze", "true", differs)
        self.finds(the_documents_are_written_from_their_scripts, TEMPLATE, hook_documents.BEGIN, "", differs)
        with unittest.mock.patch.object(hook_documents, "MAX_DOCUMENT", 9):
            self.assertIn("filesystem has", list(the_documents_are_written_from_their_scripts(Project()))[-1])

    def test_labels_that_only_one_side_knows(self):
        self.finds(
            maps_have_the_labels_that_the_report_knows,
            DEFINITIONS[0],
            '"Label": "Copies"',
            '"Label": "Copying"',
            f"CopySnapshots has the label Copying, which {REPORT} does not know.",
            f"{REPORT} knows the label Copies, which no distributed Map has.",
        )
        self.finds(
            maps_have_the_labels_that_the_report_knows,
            DEFINITIONS[0],
            '      "Label": "Snapshots",\n',
            "",
            "SnapshotInstances is a distributed Map without a Label.",
            f"{REPORT} knows the label Snapshots, which no distributed Map has.",
        )
        self.finds(
            maps_have_the_labels_that_the_report_knows,
            REPORT,
            '"Expiries"',
            '"Expired"',
            f"ExpireSnapshots has the label Expiries, which {REPORT} does not know.",
            f"{REPORT} knows the label Expired, which no distributed Map has.",
        )


if __name__ == "__main__":
    unittest.main()
