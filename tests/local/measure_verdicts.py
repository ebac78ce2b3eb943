"""What it takes to judge the snapshots of a region: discover by itself, on prepared pages, as a table.

    python tests/local/measure_verdicts.py [--bootstrap PATH] [--snapshots 1000 10000 100000]

Neither EC2 nor S3 takes time here, so that what is measured is the function: reading, judging, writing.
"""

import argparse
import json
from pathlib import Path

import function_alone
import prepared_pages
from prepared_pages import AWAY, FOLDER, HOME, Pages, Scene

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the verdicts on a region's snapshots.")
    default = ROOT / ".aws-sam/local/DiscoverFunction/bootstrap"
    parser.add_argument("--bootstrap", type=Path, default=default, help="the discover function")
    parser.add_argument("--snapshots", type=int, nargs="+", default=[1000, 10_000, 100_000], help="hundreds")
    given = parser.parse_args()
    most = max(given.snapshots)
    scenes = [Scene(count) for count in given.snapshots] + [Scene(most, copied=False), Scene(most, AWAY)]
    print(f"DiscoverExpired of {given.bootstrap}\n")
    print(
        f"{'judged':22}{'snapshots':>10}{'calls':>7}{'s':>8}{'CPU s':>8}"
        f"{'µs each':>9}{'peak MB':>9}{'lines':>9}{'planned':>9}"
    )
    for scene in scenes:
        measure(given.bootstrap, scene)


def measure(bootstrap: Path, scene: Scene) -> None:
    event = {"step": "DiscoverExpired", "region": scene.region, "run": prepared_pages.run(expire=True)}
    pages = Pages(scene)
    fleet = {FOLDER + "fleet-again.json": json.dumps(prepared_pages.fleet(scene)).encode()}
    left, peak_mb, cpu_seconds = function_alone.run(bootstrap, event, pages, HOME, objects=fleet)
    kind, outcome = left.outcome
    if kind != "response":
        raise SystemExit(f"{scene}: {outcome}")
    named = {
        Path(key).name: [json.loads(line) for line in body.splitlines()]
        for key, body in left.objects.items()
        if key.endswith(".jsonl")
    }
    verdicts = named[f"verdicts-{scene.region}.jsonl"]
    planned = {one["id"] for batch in named[f"expire-{scene.region}.jsonl"] for one in batch["snapshots"]}
    judged, wrong = len({one["snapshot"] for one in verdicts}), planned ^ pages.goes(scene.region)
    if judged != scene.snapshots or wrong:
        raise SystemExit(f"{scene}: {judged} judged, and of {len(wrong)} the verdict is wrong: {sorted(wrong)[:5]}")
    each = left.seconds / scene.snapshots * 1e6
    print(
        f"{str(scene):22}{scene.snapshots:>10,}{left.calls:>7}{left.seconds:>8.2f}{cpu_seconds:>8.2f}"
        f"{each:>9.0f}{peak_mb:>9.0f}{len(verdicts):>9,}{len(planned):>9,}",
        flush=True,
    )


if __name__ == "__main__":
    main()
