"""Draws what a program has written to a terminal, as SVG.

    python tests/local/terminal_picture.py TITLE COLUMNS < TEXT > PICTURE

Run it with the tools environment's Python. TEXT has the colours of a terminal and no other of its controls. The
picture has its own background, so that it can be read on a light page and on a dark one, and asks for nothing: rich's
own template loads a font.
"""

import io
import sys

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

# Each of them has a contrast of at least 4.5 on the background.
THEME = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (110, 118, 129),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (230, 237, 243),
    ],
)
TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" class="rich-terminal" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    title, columns = sys.argv[1], int(sys.argv[2])
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, highlight=False)
    for line in sys.stdin.read().splitlines():
        console.print(Text.from_ansi(line), overflow="fold")
    # The same picture of the same text: rich makes up another id each time.
    print(console.export_svg(title=title, theme=THEME, code_format=TEMPLATE, unique_id="terminal"), end="")


if __name__ == "__main__":
    main()
