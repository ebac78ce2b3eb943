"""Disk images are what they are said to be, in the eyes of blkid and debugfs, and are read back through EBS."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import disk_images
from disk_images import MIB, PACKAGES, ImageError, make
from test_ebs import BLOCK, EbsScene

SIZE = 64 * MIB
TOOLS = "/usr/sbin:/sbin:/usr/bin:/bin"
MISSING = [tool for tool in PACKAGES if not shutil.which(tool, path=TOOLS)]


def asked(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True, env={"PATH": TOOLS}).stdout


def recognised(image, *more):
    """What blkid finds at the beginning, or at an offset: a file system or a partition table."""
    done = subprocess.run(
        ["blkid", "--probe", "--output", "export", *more, image], capture_output=True, text=True, env={"PATH": TOOLS}
    )
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    return found.get("TYPE") or found.get("PTTYPE")


class Folder(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.image = self.folder / "disk.img"
        self.files = self.folder / "files"
        (self.files / "etc").mkdir(parents=True)
        (self.files / "etc/name").write_text("web\n")


@unittest.skipIf(MISSING, f"there is no {', '.join(MISSING)}")
class Images(Folder):
    def partitions(self):
        table = json.loads(asked("sfdisk", "--json", self.image))["partitiontable"]["partitions"]
        return [
            recognised(self.image, "--offset", str(one["start"] * 512), "--size", str(one["size"] * 512))
            for one in table
        ]

    def test_each_is_recognised_and_sparse(self):
        for kind, found in (
            ("ext4", "ext4"),
            ("xfs", "xfs"),
            ("fat", "vfat"),
            ("ntfs", "ntfs"),
            ("swap", "swap"),
            ("lvm", "LVM2_member"),
            ("mbr", "dos"),
            ("gpt", "gpt"),
            ("random", None),
            ("empty", None),
        ):
            with self.subTest(kind):
                size = SIZE * 5 if kind == "xfs" else SIZE
                make(kind, self.image, size)
                self.assertEqual(recognised(self.image), found)
                self.assertEqual(self.image.stat().st_size, size)
                self.assertLess(self.image.stat().st_blocks * 512, size / 4)

    def test_partitions_have_file_systems(self):
        make("mbr", self.image, SIZE)
        # The third is the extended one around the last.
        self.assertEqual(self.partitions(), ["ext4", "swap", "dos", "vfat"])
        make("gpt", self.image, SIZE)
        self.assertEqual(self.partitions(), [None, "ext4"])

    def test_ext4_has_the_files_wherever_it_is(self):
        for kind, offset in (("ext4", 0), ("mbr", MIB), ("gpt", 2 * MIB)):
            make(kind, self.image, SIZE, self.files)
            self.assertEqual(asked("debugfs", "-R", "cat /etc/name", f"{self.image}?offset={offset}"), "web\n")
        asked("e2fsck", "-n", "-f", f"{self.image}?offset={2 * MIB}")

    def test_ext4_has_a_state(self):
        for state, told in (("clean", "clean"), ("mounted", "not clean"), ("errors", "clean with errors")):
            make("ext4", self.image, SIZE, self.files, state)
            shown = asked("dumpe2fs", "-h", self.image)
            self.assertRegex(shown, rf"Filesystem state: +{told}\n")
            self.assertEqual("needs_recovery" in shown, state == "mounted")

    def test_on_the_command_line(self):
        program = [sys.executable, disk_images.__file__]
        asked(*program, "gpt", "--size", "32M", "--files", self.files, self.image)
        self.assertEqual(self.image.stat().st_size, 32 * MIB)
        done = subprocess.run([*program, "swap", "--files", self.files, self.image], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("files and a state have images with ext4", done.stderr)


@unittest.skipIf(MISSING, f"there is no {', '.join(MISSING)}")
class Read(EbsScene):
    def test_an_image_is_read_back_block_by_block(self):
        image, again = self.folder / "disk.img", self.folder / "again.img"
        make("gpt", image, SIZE)
        snapshot = self.prepared(file=str(image))
        disk_images.blank(again, SIZE)
        with again.open("r+b") as opened:
            for index, token in self.blocks(snapshot).items():
                opened.seek(index * BLOCK)
                opened.write(self.read(snapshot, index, token)["BlockData"].read())
        self.assertEqual(again.read_bytes(), image.read_bytes())


class Refusals(Folder):
    def test_a_missing_tool_is_named_with_its_package(self):
        with mock.patch("shutil.which", return_value=None), self.assertRaises(ImageError) as caught:
            make("ntfs", self.image, SIZE)
        self.assertEqual(str(caught.exception), "there is no mkntfs: install the Debian package ntfs-3g")

    def test_what_cannot_be_made_is_refused(self):
        for given in (("zfs", SIZE), ("fat", SIZE, self.files), ("ext4", SIZE, self.folder / "none"), ("ext4", 1000)):
            with self.assertRaises(ImageError):
                make(given[0], self.image, *given[1:])
        for size in ("64", "M", "-1M", "1.5G"):
            with self.assertRaises(argparse.ArgumentTypeError, msg=size):
                disk_images.bytes_of(size)
