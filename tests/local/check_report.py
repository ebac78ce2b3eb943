"""Checks reports: their JSON against its schema, and their page in headless Chromium, as people would look at it.

    python tests/local/check_report.py FOLDER [--pictures FOLDER]

Run it with the tools environment's Python. FOLDER holds pages and reports.json, as
`cargo run --package page --example pages -- FOLDER` writes them. Of each page it checks that
nothing is asked of the network and nothing is said in the console, that it is not wider than the
screen, that headings, sections and tables are in order, and that every text can be read (WCAG
2.2, 1.4.3). It prints what is wrong. Where there is no Chromium it says so, and looks at no page.
"""

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check_output
from browser import NAMES, Browser, browser, found

WIDTHS = (360, 1400)
THEMES = ("light", "dark")
# What a page of 10,000 volumes may take, to open and in bytes.
MOST_SECONDS = 2
MOST_BYTES = 2_000_000
# Of normal text (WCAG 2.2, 1.4.3); large text may have less, and has not.
LEAST_CONTRAST = 4.5

LOOK = """
(() => {
  const seen = element => {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    return style.visibility === "visible" && style.display !== "none" && box.width > 1 && box.height > 1;
  };
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const ground = element => {
    if (!element) return [255, 255, 255];
    const color = numbers(getComputedStyle(element).backgroundColor);
    return color[3] === 0 ? ground(element.parentElement) : over(color, ground(element.parentElement));
  };
  const light = color => {
    const linear = part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
    const [r, g, b] = color.map(part => linear(part / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const contrast = element => {
    const below = ground(element), own = numbers(getComputedStyle(element).color);
    const [one, other] = [light(over(own, below)), light(below)];
    return (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
  };
  const words = [...document.body.querySelectorAll("*")].filter(element => !element.closest("svg") && seen(element) &&
    [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()));
  const name = element => `${element.localName}.${element.className}: ${element.textContent.trim().slice(0, 40)}`;
  const faint = words.map(element => [contrast(element), name(element)]).sort((a, b) => a[0] - b[0]);
  const wide = [...document.body.querySelectorAll("*")].filter(element => seen(element) &&
    !element.closest("svg *") && element.getBoundingClientRect().right > SCREEN + 1);
  return {
    title: document.title, language: document.documentElement.lang,
    policy: document.querySelector("meta[http-equiv=Content-Security-Policy]")?.content ?? "",
    page: document.documentElement.scrollWidth, screen: SCREEN, wide: wide.slice(0, 5).map(name),
    headings: [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(one =>
      [Number(one.localName[1]), one.textContent]),
    unnamed: [...document.querySelectorAll("section")].filter(one =>
      !document.getElementById(one.getAttribute("aria-labelledby"))).length,
    tables: [...document.querySelectorAll("table")].map(table => ({
      caption: table.caption?.textContent ?? "", heads: table.querySelectorAll("thead th[scope=col]").length,
      rows: [...table.tBodies[0].rows].filter(row => row.cells[0].matches("th[scope=row]")).length,
      all: table.tBodies[0].rows.length, cells: Math.max(0, ...[...table.tBodies[0].rows].map(row => row.cells.length)),
    })),
    words: words.length, faintest: faint[0],
    ground: getComputedStyle(document.body).backgroundColor,
    milliseconds: performance.getEntriesByType("navigation")[0].duration,
  };
})()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks reports and their pages.")
    parser.add_argument("folder", type=Path, help="where the pages are")
    parser.add_argument("--pictures", type=Path, help="where to put a picture of each")
    given = parser.parse_args()
    reports = json.loads((given.folder / "reports.json").read_text())
    wrong = check_output.of_reports(reports)
    if wrong:
        print("\n".join(wrong))
        return 1
    print(f"{len(reports)} reports are as docs/report.schema.json says")
    path = found()
    if not path:
        print(f"SKIPPED: there is none of {', '.join(NAMES)} here, so that nobody has looked at the report's page")
        return 0
    pages = sorted(given.folder.glob("*.html"))
    if not pages:
        print(f"there is no page in {given.folder}")
        return 1
    with browser(path) as tab:
        for page in pages:
            wrong += [f"{page.name}: {problem}" for problem in of_page(tab, page, given.pictures)]
    print(
        "\n".join(wrong)
        if wrong
        else f"{len(pages)} pages, {len(WIDTHS)} widths, {len(THEMES)} themes: as they should be"
    )
    return 1 if wrong else 0


def of_page(tab: Browser, page: Path, pictures: Path | None) -> Iterator[str]:
    if (size := page.stat().st_size) > MOST_BYTES:
        yield f"{size} bytes, of {MOST_BYTES} at most"
    grounds, opened = set(), []
    for width in WIDTHS:
        for theme in THEMES:
            tab.open(page, width, theme)
            looked = look(tab, width)
            grounds.add(looked["ground"])
            opened.append(looked["milliseconds"])
            for problem in [*of_events(tab, page), *of_look(looked)]:
                yield f"{theme}, {width} wide: {problem}"
            if pictures:
                take(tab, pictures / f"{page.stem}-{theme}-{width}.png")
    if len(grounds) != len(THEMES):
        yield f"the themes do not differ: {grounds}"
    # The best of all: the machine may have other things to do.
    if min(opened) > MOST_SECONDS * 1000:
        yield f"it took {min(opened):.0f} ms to open"
    # On paper the ground is white, whatever the theme.
    tab.open(page, 800, "dark", media="print")
    looked = look(tab, 800)
    if looked["ground"] != "rgb(255, 255, 255)" or looked["faintest"][0] < LEAST_CONTRAST:
        yield f"on paper: {looked['ground']}, {looked['faintest']}"


def of_events(tab: Browser, page: Path) -> Iterator[str]:
    """Whatever the page has said or asked for since it was opened."""
    tab.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    for method, params in tab.events:
        if method == "Network.requestWillBeSent" and params["request"]["url"] != page.resolve().as_uri():
            yield f"it asks for {params['request']['url']}"
        if method in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            yield f"the console says {json.dumps(params)[:300]}"


def of_look(looked: dict[str, Any]) -> Iterator[str]:
    if not looked["title"].startswith("EBS backup ") or looked["language"] != "en":
        yield f"title {looked['title']!r}, language {looked['language']!r}"
    if not looked["policy"].startswith("default-src 'none';"):
        yield f"its policy is {looked['policy']!r}"
    if looked["page"] > looked["screen"] or looked["wide"]:
        yield f"it is {looked['page']} wide on a screen of {looked['screen']}: {looked['wide']}"
    levels = [level for level, _ in looked["headings"]]
    if levels.count(1) != 1 or levels[0] != 1 or any(b > a + 1 for a, b in zip(levels, levels[1:], strict=False)):
        yield f"the headings are {looked['headings']}"
    if looked["unnamed"]:
        yield f"{looked['unnamed']} sections have no heading of theirs"
    for table in looked["tables"]:
        if not table["caption"] or table["heads"] != table["cells"] or table["rows"] != table["all"]:
            yield f"a table is not headed: {table}"
    if looked["words"] < 20 or looked["faintest"][0] < LEAST_CONTRAST:
        yield f"the contrast is {looked['faintest']}, of {LEAST_CONTRAST} at least, among {looked['words']} texts"


def look(tab: Browser, width: int) -> dict[str, Any]:
    # A telephone's browser would show a page that is too wide as a whole, and call that its screen.
    return tab.evaluate(LOOK.replace("SCREEN", str(width)))


def take(tab: Browser, picture: Path) -> None:
    picture.parent.mkdir(parents=True, exist_ok=True)
    size = tab.call("Page.getLayoutMetrics")["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 8000), "scale": 1}
    shot = tab.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
    picture.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    sys.exit(main())
