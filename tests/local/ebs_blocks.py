"""Disk images as EBS keeps them: blocks of 512 KiB, by their index.

At AWS a block is in a snapshot once it was written. Here it is when a byte of
it is not zero: however an image was made or copied, it has the same blocks.
"""

import base64
import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

BLOCK_BYTES = 512 * 1024
ZEROS = bytes(BLOCK_BYTES)
# A volume has 64 TiB at most.
MAX_BLOCKS = 64 * 2**40 // BLOCK_BYTES


class Image:
    """What is on a disk: the blocks that hold something, in order, and what they hold."""

    indices: Sequence[int] = ()

    def __init__(self) -> None:
        self.checksums: dict[int, str] = {}

    def has(self, index: int) -> bool:
        at = bisect_left(self.indices, index)
        return at < len(self.indices) and self.indices[at] == index

    def page(self, start: int, size: int) -> tuple[Sequence[int], int | None]:
        """So many indices at most from `start` on, and the one after them."""
        first = bisect_left(self.indices, start)
        last = first + size
        return self.indices[first:last], self.indices[last] if last < len(self.indices) else None

    def data(self, index: int) -> bytes:
        raise NotImplementedError

    def checksum(self, index: int, data: bytes) -> str:
        """Of this block's data, which is hashed once."""
        if index not in self.checksums:
            self.checksums[index] = checksum(data)
        return self.checksums[index]


class FileImage(Image):
    """A file, of which many snapshots may show the same blocks; none changes it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    @cached_property
    def indices(self) -> Sequence[int]:
        with self.file.open("rb", buffering=0) as opened:
            return [index for index in allocated(opened.fileno()) if self.data(index) != ZEROS]

    def data(self, index: int) -> bytes:
        with self.file.open("rb", buffering=0) as opened:
            return os.pread(opened.fileno(), BLOCK_BYTES, index * BLOCK_BYTES).ljust(BLOCK_BYTES, b"\0")


class PreparedImage(Image):
    """So many blocks without a file, all different, and the same ones every time."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.indices = range(blocks)

    def data(self, index: int) -> bytes:
        return b"block %025d\n" % index * (BLOCK_BYTES // 32)


def allocated(descriptor: int) -> Iterator[int]:
    """The blocks of a sparse file that are no hole altogether."""
    size, at = os.fstat(descriptor).st_size, 0
    while at < size:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:
            # There is no data from here on.
            return
        end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        first, last = max(begin, at) // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        yield from range(first, last)
        at = last * BLOCK_BYTES


def checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


# A file that is written anew is another image.
FILES: dict[tuple[Path, int, int, int], FileImage] = {}


def image_of(file: Path | None, blocks: int | None) -> Image:
    """The image of a file, or so many prepared blocks. Without both it is a disk that was never written."""
    if file is None:
        return PREPARED.setdefault(blocks or 0, PreparedImage(blocks or 0))
    facts = file.stat()
    key = (file, facts.st_ino, facts.st_size, facts.st_mtime_ns)
    if key not in FILES:
        FILES[key] = FileImage(file)
    return FILES[key]


PREPARED: dict[int, PreparedImage] = {}


def forget() -> None:
    FILES.clear()
    PREPARED.clear()
