"""Sparse disk images as servers have them, made by the tools of Debian; nothing is mounted, nobody has to be root.

    python tests/local/disk_images.py KIND [--size 64M] [--files FOLDER] [--state STATE] IMAGE

A folder's files go into the ext4 file system of an image that has one. The state
is that of this file system: "clean", "mounted" as a snapshot of a running server
has it, or "errors".
"""

import argparse
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

MIB = 2**20
SECTOR = 512
# The package of Debian that has each tool.
PACKAGES = {
    "mkfs.ext4": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.vfat": "dosfstools",
    "mkntfs": "ntfs-3g",
    "mkswap": "util-linux",
    "fallocate": "util-linux",
    "sfdisk": "fdisk",
}
STATES = ("clean", "mounted", "errors")
UNITS = {"K": 2**10, "M": MIB, "G": 2**30, "T": 2**40}


class ImageError(Exception):
    """Why an image cannot be made."""


def run(tool: str, *words: str | Path, script: str = "") -> None:
    # Debian keeps them where only root's shell looks.
    path = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise ImageError(f"there is no {tool}: install the Debian package {PACKAGES[tool]}")
    done = subprocess.run([path, *words], input=script, capture_output=True, text=True)
    if done.returncode != 0:
        raise ImageError(f"{tool} failed: {(done.stderr or done.stdout).strip()}")


def blank(image: Path, size: int) -> None:
    with image.open("wb") as opened:
        opened.truncate(size)


def ext4(image: Path, size: int, files: Path | None = None, state: str = "clean") -> None:
    blank(image, size)
    run("mkfs.ext4", "-q", "-F", *(["-d", files] if files else []), image)
    # Bit 0 of the state says that it was unmounted, bit 1 that it has errors.
    if state == "mounted":
        run("debugfs", "-w", "-R", "set_super_value state 0", image)
        run("debugfs", "-w", "-R", "feature needs_recovery", image)
    if state == "errors":
        run("debugfs", "-w", "-R", "set_super_value state 3", image)


def xfs(image: Path, size: int) -> None:
    blank(image, size)
    run("mkfs.xfs", "-q", "-f", image)


def fat(image: Path, size: int) -> None:
    blank(image, size)
    run("mkfs.vfat", image)


def ntfs(image: Path, size: int) -> None:
    blank(image, size)
    run("mkntfs", "--quick", "--force", "--quiet", image)


def swap(image: Path, size: int) -> None:
    blank(image, size)
    image.chmod(0o600)
    run("mkswap", image)


def lvm(image: Path, size: int) -> None:
    """A physical volume without a group, as pvcreate makes it of a device, which needs root.

    The layout is that of lvm2's sources, lib/format_text/layout.h and lib/label/label.h.
    """
    area, data = 4096, MIB
    locations = struct.pack("<QQQQQQQQ", data, 0, 0, 0, area, data - area, 0, 0)
    volume = b"localcloudlocalcloudlocalcloud00" + struct.pack("<Q", size) + locations
    label = (struct.pack("<I8s", 32, b"LVM2 001") + volume).ljust(SECTOR - 20, b"\0")
    metadata = struct.pack("<16sIQQ", b" LVM2 x[5A%r0N*>", 1, area, data - area).ljust(SECTOR - 4, b"\0")
    blank(image, size)
    with image.open("r+b") as opened:
        opened.seek(SECTOR)
        opened.write(struct.pack("<8sQI", b"LABELONE", 1, lvm_checksum(label)) + label)
        opened.seek(area)
        opened.write(struct.pack("<I", lvm_checksum(metadata)) + metadata)


def lvm_checksum(data: bytes) -> int:
    """CRC-32 that begins with another value, and is not inverted."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def mbr(image: Path, size: int, files: Path | None = None, state: str = "clean") -> None:
    """ext4, swap, and FAT in a logical partition."""
    quarter = size // 4 // MIB * MIB
    starts = MIB, MIB + 2 * quarter, 2 * MIB + 3 * quarter
    sizes = 2 * quarter, quarter - MIB, size - starts[2] - MIB
    blank(image, size)
    first, second, third = (
        f"start={at // SECTOR}, size={room // SECTOR}" for at, room in zip(starts, sizes, strict=True)
    )
    extended = f"start={starts[2] // SECTOR - 2048}, type=5"
    run(
        "sfdisk",
        image,
        script=f"label: dos\n{first}, type=83, bootable\n{second}, type=82\n{extended}\n{third}, type=c\n",
    )
    place(image, starts[0], lambda part: ext4(part, sizes[0], files, state))
    place(image, starts[1], lambda part: swap(part, sizes[1]))
    place(image, starts[2], lambda part: fat(part, sizes[2]))


def gpt(image: Path, size: int, files: Path | None = None, state: str = "clean") -> None:
    """A partition of 1 MiB that boots, without a file system, and ext4, as the images of distributions have them."""
    start, room = 2 * MIB, size - 3 * MIB
    blank(image, size)
    boots = f"start={MIB // SECTOR}, size={MIB // SECTOR}, type=21686148-6449-6E6F-744E-656564454649"
    run("sfdisk", image, script=f"label: gpt\n{boots}\nstart={start // SECTOR}, size={room // SECTOR}, type=L\n")
    place(image, start, lambda part: ext4(part, room, files, state))


def place(image: Path, start: int, make: Callable[[Path], None]) -> None:
    """Puts what is made as a file of its own into a partition; its holes stay holes."""
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        part = Path(folder) / "partition"
        make(part)
        with part.open("rb") as source, image.open("r+b") as target:
            at = 0
            while chunk := source.read(MIB):
                if chunk.count(0) != len(chunk):
                    target.seek(start + at)
                    target.write(chunk)
                at += len(chunk)


def unrecognised(image: Path, size: int) -> None:
    """Bytes by chance, the same ones every time, at the beginning and in the middle."""
    blank(image, size)
    dice = random.Random(size)
    with image.open("r+b") as opened:
        for at in {0, size // 2}:
            opened.seek(at)
            opened.write(dice.randbytes(min(2 * MIB, size - at)))


KINDS: dict[str, Callable[..., None]] = {
    "ext4": ext4,
    "xfs": xfs,
    "fat": fat,
    "ntfs": ntfs,
    "swap": swap,
    "lvm": lvm,
    "mbr": mbr,
    "gpt": gpt,
    "random": unrecognised,
    "empty": blank,
}
WITH_EXT4 = ("ext4", "mbr", "gpt")


def make(kind: str, image: Path, size: int, files: Path | None = None, state: str = "clean") -> None:
    """Makes an image; a file of this name goes."""
    if kind not in KINDS:
        raise ImageError(f"{kind!r} is no kind of image; there are {', '.join(KINDS)}")
    if (files or state != "clean") and kind not in WITH_EXT4:
        raise ImageError(f"files and a state have images with ext4, which are {', '.join(WITH_EXT4)}; {kind} has not")
    if state not in STATES:
        raise ImageError(f"{state!r} is no state of a file system; there are {', '.join(STATES)}")
    if files and not files.is_dir():
        raise ImageError(f"there is no folder {files}")
    if size % MIB:
        raise ImageError(f"{size} bytes are not a whole number of MiB")
    KINDS[kind](image, size, *((files, state) if kind in WITH_EXT4 else ()))
    # The tools write zeros, too.
    run("fallocate", "--dig-holes", image)


def bytes_of(text: str) -> int:
    unit = UNITS.get(text[-1:].upper(), 0)
    if not unit or not text[:-1].isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no size; one is a whole number with K, M, G or T, as 64M")
    return int(text[:-1]) * unit


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a sparse disk image.")
    parser.add_argument("kind", choices=KINDS)
    # mkfs.xfs makes none below 300 MiB.
    parser.add_argument("--size", type=bytes_of, help="64M unless said; 320M of xfs")
    parser.add_argument("--files", type=Path, help="the folder whose files go into it")
    parser.add_argument("--state", choices=STATES, default="clean", help="of its ext4 file system")
    parser.add_argument("image", type=Path)
    given = parser.parse_args()
    size = given.size or (320 if given.kind == "xfs" else 64) * MIB
    try:
        make(given.kind, given.image, size, given.files, given.state)
    except (ImageError, OSError) as problem:
        sys.exit(f"{given.image}: {problem}")


if __name__ == "__main__":
    main()
