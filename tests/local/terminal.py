"""A program on a terminal: what is on the screen at each moment."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

# A control sequence, or one character.
PIECE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|[\s\S]")
ROWS = 60


class Screen:
    """Lines with their colours. It knows what a line of progress needs: to go back, up, and to erase a line."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self.row = 0
        self.fresh = False

    def write(self, text: str) -> None:
        for piece in PIECE.finditer(text):
            self.obey(piece[0], piece[1] or "", piece[2])

    def obey(self, piece: str, numbers: str, control: str | None) -> None:
        if control == "A":
            self.row = max(0, self.row - int(numbers or 1))
        elif control == "K":
            self.lines[self.row] = ""
        elif piece == "\r":
            self.fresh = True
            return
        elif piece == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        elif control in (None, "m"):
            if self.fresh:
                # A line is always written anew as a whole.
                self.lines[self.row] = ""
            self.lines[self.row] += piece
        self.fresh = self.fresh and control is not None and control != "m"

    def text(self) -> str:
        return "\n".join(self.lines).rstrip()


def moments(command: list[str | Path], environment: dict[str, str], columns: int) -> Iterator[str]:
    """The screen after everything that the program writes, until it ends."""
    terminal, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    process = subprocess.Popen(command, env=environment, stdin=its, stdout=its, stderr=its, close_fds=True)
    os.close(its)
    screen, rest = Screen(), b""
    try:
        while True:
            try:
                rest += os.read(terminal, 65536)
            except OSError:
                # The program, which was the last to have the terminal, has ended.
                return
            # A control sequence or a letter that is cut is whole with what comes next.
            whole = rest[: rest.rfind(b"\x1b")] if re.search(rb"\x1b(\[[0-9;?]*)?$", rest) else rest
            text = whole.decode(errors="ignore")
            rest = rest[len(whole) :]
            screen.write(text)
            yield screen.text()
    finally:
        # Whoever stops looking would else wait for a program that waits for somebody who reads.
        os.close(terminal)
        process.terminate()
        process.wait()
