"""What the report of a large fleet takes: the function by itself, on prepared pages.

    python tests/local/measure_report.py [--bootstrap PATH] [--volumes 1000 10000] [--keep FOLDER]

Of each volume there are a week of snapshots, and a copy of each. Neither EC2 nor S3 takes time here.
"""

import argparse
import json
from pathlib import Path

import function_alone
import prepared_pages
from ec2_state import ACCOUNT
from prepared_pages import AWAY, FOLDER, HOME, Pages, Scene, Shape, identifier

ROOT = Path(__file__).resolve().parents[2]
# A week of snapshots, of which none is due.
DAYS, RETENTION = 7, 8
VARIABLES = {
    "NOTIFICATION_TOPIC_ARN": f"arn:aws:sns:{HOME}:{ACCOUNT}:topic",
    "NOTIFY_ON": "failure",
    "SCHEDULE_EXPRESSION": "cron(0 3 * * ? *)",
    **{
        f"{queue}_DEAD_LETTER_QUEUE_URL": "http://127.0.0.1" for queue in ("SNAPSHOT", "WAIT", "COPY", "EXPIRE", "HOOK")
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the report.")
    default = ROOT / ".aws-sam/local/ReportFunction/bootstrap"
    parser.add_argument("--bootstrap", type=Path, default=default, help="the report function")
    parser.add_argument("--volumes", type=int, nargs="+", default=[1000, 10_000], help="even numbers")
    parser.add_argument("--keep", type=Path, help="where to put report.html of the last one")
    given = parser.parse_args()
    print(f"The report of {given.bootstrap}\n")
    print(f"{'volumes':>9}{'snapshots':>11}{'calls':>7}{'s':>8}{'CPU s':>8}{'peak MB':>9}{'json MB':>9}{'html kB':>9}")
    for volumes in given.volumes:
        measure(given.bootstrap, volumes, given.keep)


def measure(bootstrap: Path, volumes: int, keep: Path | None) -> None:
    scene = Scene(volumes * DAYS, days=DAYS, retention=RETENTION, keeps=False)
    objects = {FOLDER + name: body.encode() for name, body in files(scene).items()}
    left, peak_mb, cpu_seconds = function_alone.run(
        bootstrap, event(volumes), Pages(scene), HOME, objects=objects, variables=VARIABLES
    )
    kind, outcome = left.outcome
    if kind != "response" or not outcome["complete"]:
        raise SystemExit(f"{volumes} volumes: {outcome}")
    report, page = (left.objects[FOLDER + name] for name in ("report.json", "report.html"))
    covered = {one["volume"] for one in json.loads(report)["coverage"]["volumes"] if one["state"] == "covered"}
    if covered != {identifier("vol", volume) for volume in scene.volumes}:
        raise SystemExit(f"{volumes} volumes: {len(covered)} are covered")
    if keep:
        (keep / "report.html").write_bytes(page)
    print(
        f"{volumes:>9,}{volumes * DAYS * 2:>11,}{left.calls:>7}{left.seconds:>8.2f}{cpu_seconds:>8.2f}"
        f"{peak_mb:>9.0f}{len(report) / 1e6:>9.1f}{len(page) / 1e3:>9.0f}",
        flush=True,
    )


def files(scene: Scene) -> dict[str, str]:
    """What discover has written: the fleet, and the plan of each instance."""
    fleet = prepared_pages.fleet(scene)
    plans = [
        {
            "instance": instance["id"],
            "name": f"server-{number}",
            "volumes": instance["volumes"],
            "retention": RETENTION,
            "backupCrossRegion": AWAY,
            "copyRegions": [AWAY],
        }
        for number, instance in enumerate(fleet["instances"])
    ]
    return {
        "fleet.json": json.dumps(fleet),
        "instances.jsonl": "".join(f"{json.dumps(plan)}\n" for plan in plans),
        f"copies-{AWAY}.jsonl": "",
        f"expire-{HOME}.jsonl": "",
    }


def event(volumes: int) -> Shape:
    def manifest(name: str, count: int = 0) -> Shape:
        return {"bucket": function_alone.BUCKET, "key": FOLDER + name, "count": count}

    return {
        "run": prepared_pages.run(snapshot=True, copy=True, expire=True),
        "fleet": {
            "manifest": manifest("instances.jsonl", volumes // 2),
            "copyRegions": [AWAY],
            "expireRegions": [HOME],
        },
        "copies": [{"region": AWAY, "manifest": manifest(f"copies-{AWAY}.jsonl")}],
        "expiries": [{"region": HOME, "manifest": manifest(f"expire-{HOME}.jsonl")}],
    }


if __name__ == "__main__":
    main()
