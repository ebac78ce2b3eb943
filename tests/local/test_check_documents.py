"""A section that is named and not there, and a command that is shown and does not work, are found."""

import unittest

import check_documents
from check_documents import (
    ROOT,
    arguments,
    command_line,
    documents,
    unknown_commands,
    unknown_outputs,
    unknown_sections,
)

ARGS = arguments()
TEMPLATE = (ROOT / "template.yaml").read_text()


class Documents(unittest.TestCase):
    def test_the_projects_documents(self):
        texts = documents()
        found = [
            *unknown_sections(texts, check_documents.sources()),
            *unknown_commands(texts, ARGS),
            *unknown_outputs(texts, TEMPLATE),
        ]
        self.assertEqual(found, [])

    def test_sections_are_found_by_the_words_of_their_heading(self):
        texts = {"docs/operations.md": "## Nothing ran: a missed run\n```\n## A run that failed\n```\n"}
        alarm = 'see "A missed run" in docs/operations.md; else "A\n    run that failed" in docs/operations.md'
        self.assertEqual(
            list(unknown_sections(texts, {"template.yaml": alarm})),
            ['template.yaml: docs/operations.md has no heading with the words "A run that failed"'],
        )

    def test_the_alarms_name_sections(self):
        named = "".join(check_documents.sources().values()).replace('\\"', '"')
        self.assertGreater(len(check_documents.QUOTED.findall(named)), 5)

    def test_commands_and_options_of_the_program_are_known(self):
        commands, options = command_line(ARGS)
        self.assertLessEqual({"status", "run", "dlq list", "dlq retry", "completions"}, commands)
        self.assertLessEqual({"--phase", "--stack-name", "--allow-mass-expire", "--yes", "--output"}, options)
        self.assertNotIn("dlq", commands)

    def test_commands_that_the_program_does_not_have(self):
        text = (
            "`ebs-snapshots heal`, `ebs-snapshots dlq`, `ebs-snapshots --profile p plan`\n"
            "```\nebs-snapshots run \\\n  --dry --watch  # --nothing\nebs-snapshots dlq heal ID\n```\n"
        )
        self.assertEqual(
            sorted(unknown_commands({"docs/a.md": text}, ARGS)),
            [
                "docs/a.md: ebs-snapshots dlq heal ID: there is no command dlq heal",
                "docs/a.md: ebs-snapshots heal: there is no command heal",
                "docs/a.md: ebs-snapshots run    --dry --watch: there is no option --dry",
            ],
        )

    def test_outputs_that_the_stack_does_not_have(self):
        text = '"$(out CopyQueueUrl)" "$(out CopyQueue)"'
        self.assertEqual(
            list(unknown_outputs({"docs/a.md": text}, TEMPLATE)),
            ["docs/a.md: $(out CopyQueue): the template has no such output"],
        )


if __name__ == "__main__":
    unittest.main()
