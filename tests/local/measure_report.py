"""What the report of a large fleet takes: the function by itself, on prepared pages.

    python tests/local/measure_report.py [--bootstrap PATH] [--volumes 1000 10000] [--keep FOLDER]

Of each volume there are a week of snapshots, and a copy of each. Neither EC2 nor S3 takes time here.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import function_alone
import prepared_pages
from ec2_state import ACCOUNT
from prepared_pages import AWAY, HOME, NOW, Shape, devices, identifier, rendered

ROOT = Path(__file__).resolve().parents[2]
DAYS = 7
RUN = NOW.strftime("%Y%m%dT030000Z")
FOLDER = f"runs/{RUN}/measured/"
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
    # A week of snapshots, of which none is due.
    prepared_pages.DAYS, prepared_pages.RETENTION = DAYS, DAYS + 1
    print(f"The report of {given.bootstrap}\n")
    print(f"{'volumes':>9}{'snapshots':>11}{'calls':>7}{'s':>8}{'CPU s':>8}{'peak MB':>9}{'json MB':>9}{'html kB':>9}")
    for volumes in given.volumes:
        measure(given.bootstrap, volumes, given.keep)


def measure(bootstrap: Path, volumes: int, keep: Path | None) -> None:
    objects = {FOLDER + name: body.encode() for name, body in files(volumes).items()}
    left, peak_mb, cpu_seconds = function_alone.run(
        bootstrap, event(volumes), answered(volumes), HOME, objects=objects, variables=VARIABLES
    )
    kind, outcome = left.outcome
    if kind != "response" or not outcome["complete"]:
        raise SystemExit(f"{volumes} volumes: {outcome}")
    report, page = (left.objects[FOLDER + name] for name in ("report.json", "report.html"))
    states = {volume["state"] for volume in json.loads(report)["coverage"]["volumes"]}
    if states != {"covered"}:
        raise SystemExit(f"{volumes} volumes: they are {states}")
    if keep:
        (keep / "report.html").write_bytes(page)
    print(
        f"{volumes:>9,}{volumes * DAYS * 2:>11,}{left.calls:>7}{left.seconds:>8.2f}{cpu_seconds:>8.2f}"
        f"{peak_mb:>9.0f}{len(report) / 1e6:>9.1f}{len(page) / 1e3:>9.0f}",
        flush=True,
    )


def answered(volumes: int) -> Callable[[dict[str, str], str], bytes]:
    sources = [prepared_pages.source(volume, age, True) for volume in range(volumes) for age in reversed(range(DAYS))]
    pages = {
        HOME: rendered("DescribeSnapshots", "snapshotSet", list(map(sized, sources))),
        AWAY: rendered("DescribeSnapshots", "snapshotSet", [sized(prepared_pages.copy(one)) for one in sources]),
    }
    return lambda params, region: pages[region][int(params.get("NextToken", 0))]


def sized(shape: Shape) -> Shape:
    tags = [tag for tag in shape["tagSet"] if tag["key"] != "KeepForever"]
    return {**shape, "tagSet": tags, "completionTime": shape["startTime"], "fullSnapshotSizeInBytes": 100 << 30}


def files(volumes: int) -> dict[str, str]:
    """What discover has written: the fleet, and the plan of each instance."""
    tags = {"Backup": "Yes", "BackupCrossRegion": AWAY}
    attached = [
        [{"device": device, "volume": identifier("vol", one)} for device, one in devices(number)]
        for number in range(volumes // 2)
    ]
    ids = [identifier("i", number) for number in range(volumes // 2)]
    instances = [
        {"id": own, "state": "running", "tags": tags, "rootDevice": "/dev/sda1", "volumes": its}
        for own, its in zip(ids, attached, strict=True)
    ]
    plans = [
        {
            "instance": own,
            "name": f"server-{number}",
            "volumes": its,
            "retention": DAYS + 1,
            "backupCrossRegion": AWAY,
            "copyRegions": [AWAY],
        }
        for number, (own, its) in enumerate(zip(ids, attached, strict=True))
    ]
    disks = [{"id": identifier("vol", n), "tags": {}, "attachedTo": [ids[n // 2]]} for n in range(volumes)]
    regions = {"home": HOME, "enabled": [HOME, AWAY], "disabled": []}
    return {
        "fleet.json": json.dumps({"regions": regions, "instances": instances, "volumes": disks}),
        "instances.jsonl": "".join(f"{json.dumps(plan)}\n" for plan in plans),
        f"copies-{AWAY}.jsonl": "",
        f"expire-{HOME}.jsonl": "",
    }


def event(volumes: int) -> Shape:
    def manifest(name: str, count: int = 0) -> Shape:
        return {"bucket": function_alone.BUCKET, "key": FOLDER + name, "count": count}

    started = NOW.isoformat()
    return {
        "run": {
            "id": RUN,
            "scheduled": started,
            "execution": f"arn:aws:states:{HOME}:{ACCOUNT}:execution:ebs-snapshots-backup:measured",
            "started": started,
            "deadline": started,
            "dryRun": False,
            "phases": {"snapshot": True, "copy": True, "expire": True},
            "allowMassExpire": False,
        },
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
