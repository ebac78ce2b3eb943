"""The documents: every link leads somewhere, and every name that CONTRIBUTING gives for a file stands in it."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


class Documents(unittest.TestCase):
    def test_every_link_leads_somewhere(self) -> None:
        for document in DOCUMENTS:
            for link in LINK.findall(document.read_text()):
                if link.startswith(("https://", "mailto:")):
                    continue
                path, _, anchor = link.partition("#")
                target = (document.parent / path) if path else document
                with self.subTest(document=document.name, link=link):
                    self.assertTrue(target.exists(), "there is no such file")
                    if anchor and target.suffix == ".md":
                        self.assertIn(anchor, headings(target))

    def test_the_names_that_contributing_gives_for_a_file_stand_in_it(self) -> None:
        # `[error.rs](workers/…/error.rs): `Ec2Error::reaction``, or the name before its file: `Run` in [run.rs](…).
        text = (ROOT / "CONTRIBUTING.md").read_text()
        named = re.findall(r"\]\((\S+?)\): `([^`]+)`", text)
        named += [(file, name) for name, file in re.findall(r"`([^`]+)` in \[[^\]]*\]\((\S+?)\)", text)]
        self.assertGreater(len(named), 10)
        for file, name in named:
            if file.startswith(("docs/", "#")):
                continue
            with self.subTest(file=file, name=name):
                source = (ROOT / file).read_text()
                for part in name.split("::"):
                    self.assertIn(part, source)


if __name__ == "__main__":
    unittest.main()
