"""What is charged in a run and in a month without one, counted from the template and the state machine.

Standard library only: whoever wants the costs needs no environment. A run is followed through the definition, so that a
state that is added counts at once; a choice that is not known here stops the program.
"""

import collections
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# ---- The fleet and its pace: assumptions ----

VOLUMES = 2
# How long EC2 takes for a day's changes. The more, the more looks; large first copies take hours, and come once.
SNAPSHOT_SECONDS, COPY_SECONDS = 600, 300
# Snapshots of a volume that exist in a region: the default retention, one a day.
KEPT = 7
# Regions that are swept: those that are enabled for every account ("Specify which AWS Regions your account can use").
SWEPT_REGIONS = 17
DESTINATIONS = 1
# Written data of a volume: the list of its blocks has so many pages.
VOLUME_GIB = 50

# ---- Facts of the code ----

# workers/domain/src/drill/sampling.rs: the blocks that are read of a backup; at times one more for a partition table.
PROBED_BLOCKS = sum(
    int(count)
    for count in re.findall(
        r"^pub const (?:FIRST|RANDOM)_BLOCKS: usize = (\d+);$",
        (ROOT / "workers/domain/src/drill/sampling.rs").read_text(),
        flags=re.MULTILINE,
    )
)
# Of 512 KiB each, 10,000 in a page; and one page more for tokens (workers/domain/src/drill.rs: `expected`).
PROBED_LISTS = -(-VOLUME_GIB * 2048 // 10_000) + 1

# workers/discover/src/expired.rs: BATCH, the snapshots of one Expire task.
EXPIRE_BATCH = 20
# What a fault-free full run of a fleet without hooks takes. Every region counts as one where something is due, which it
# is in two of them: a transition too many for each of the others.
CHOICES = {
    "IsDuplicate": "DiscoverInstances",
    "AnyInstances": "SnapshotFleet",
    "AnyUnhooked": "SnapshotInstances",
    "AnyHooked": "HookedEnded",
    "AnyCopies": "CopySnapshots",
    "AnyExpired": "ExpireSnapshots",
    "Complete": "BackupComplete",
    "AnyToVerify": "VerifySnapshots",
    "IsProven": "DrillSucceeded",
}
# What there is only where drills are on.
OF_DRILLS = re.compile(r"^    Condition: (?:DrillsAreOn|WatchesForProofs)$", re.MULTILINE)


@dataclass(frozen=True)
class Template:
    """What the template says of the things that cost money."""

    alarms: int
    # An alarm on an expression is charged for each metric in it.
    alarm_metrics: int
    dashboards: int
    # Functions and their memory in MB.
    memory: dict[str, int]
    # The queues that Lambda polls.
    polled_queues: int
    queues: int
    tracing: bool
    poll_seconds: int
    run_hours: int
    report_days: int
    log_days: int


def blocks(template: str) -> dict[str, str]:
    """The resources of the template, as text; scripts in them are indented deeper."""
    resources = template.split("\nResources:\n")[1].split("\nOutputs:\n")[0]
    parts = re.split(r"^  (\w+):\n", resources, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def read_template(text: str, of_drills: bool = False) -> Template:
    """What there is in any case, or what drills add to it."""
    of_type = collections.defaultdict(dict)
    for name, block in blocks(text).items():
        if bool(OF_DRILLS.search(block)) != of_drills:
            continue
        kind = re.search(r"^    Type: (\S+)$", block, flags=re.MULTILINE)
        of_type[kind[1] if kind else ""][name] = block
    shared = text.split("\nGlobals:\n")[1].split("\nResources:\n")[0]
    common = number(shared, r"^    MemorySize: (\d+)$")
    functions = of_type["AWS::Serverless::Function"]
    alarms = of_type["AWS::CloudWatch::Alarm"].values()
    return Template(
        alarms=len(alarms),
        alarm_metrics=sum(max(1, len(re.findall(r"\bMetricStat:", alarm))) for alarm in alarms),
        dashboards=len(of_type["AWS::CloudWatch::Dashboard"]),
        memory={name: number(block, r"^      MemorySize: (\d+)$", common) for name, block in functions.items()},
        polled_queues=sum(
            len(re.findall(r"^          Type: SQS$", block, re.MULTILINE)) for block in functions.values()
        ),
        queues=len(of_type["AWS::SQS::Queue"]),
        tracing="\n    Tracing: Active\n" in shared,
        poll_seconds=default(text, "PollSeconds"),
        run_hours=default(text, "RunHours"),
        report_days=default(text, "ReportRetentionDays"),
        log_days=default(text, "LogRetentionDays"),
    )


def number(text: str, pattern: str, otherwise: int | None = None) -> int:
    found = re.search(pattern, text, flags=re.MULTILINE)
    if not found and otherwise is None:
        raise ValueError(f"template.yaml has no line like {pattern}")
    return int(found[1]) if found else otherwise


def default(template: str, parameter: str) -> int:
    return number(template.split(f"\n  {parameter}:\n")[1].split("\n    Description:")[0], r"^    Default: (\d+)$")


def metric_series(of_drills: bool = False) -> dict[str, int]:
    """The custom metrics, and how often each is charged: once for each value of its dimensions; those of drills apart.

    In the files that print them stands `("Name", value)`; a list of all says `Name: Unit [Scope, Scope],`, where the
    scope BackupRegion is one of each destination, and one of the home region unless the metric is of copies alone.
    """
    found: dict[str, int] = {}
    for path in ROOT.glob("workers/*/src/**/metrics.rs"):
        source = path.read_text()
        found |= dict.fromkeys(re.findall(r'\("([A-Z]\w+)", ', source), 1)
        for name, scopes in re.findall(r"^ {4}([A-Z]\w+): \w+ \[([\w, ]+)\],$", source, flags=re.MULTILINE):
            of_regions = (("Home" in scopes) + DESTINATIONS) * ("BackupRegion" in scopes)
            found[name] = of_regions + len(set(scopes.split(", ")) - {"BackupRegion"})
    return {name: count for name, count in found.items() if name.startswith(("Drill", "Proof")) == of_drills}


def read_definition(text: str) -> dict[str, Any]:
    """The state machine; numbers that the template fills in are 1 here."""
    return json.loads(re.sub(r": \$\{\w+\}", ": 1", text))


@dataclass
class Run:
    """What one run does: transitions, started children, messages and invocations, by state."""

    transitions: int = 0
    children: int = 0
    maps: int = 0
    messages: collections.Counter[str] = field(default_factory=collections.Counter)
    invocations: collections.Counter[str] = field(default_factory=collections.Counter)


def follow_run(definition: dict[str, Any], instances: int) -> Run:
    volumes = VOLUMES * instances
    items = {
        "SnapshotInstances": instances,
        "PlanCopies": DESTINATIONS,
        "CopyToRegions": DESTINATIONS,
        "CopySnapshots": volumes * DESTINATIONS,
        "ExpireRegions": SWEPT_REGIONS,
        # Each day one day's snapshots go, here and in each destination.
        "ExpireSnapshots": (1 + DESTINATIONS) * -(-volumes // EXPIRE_BATCH),
    }
    run = Run()
    follow(definition, 1, items, run)
    return run


def follow_drill(definition: dict[str, Any], instances: int) -> Run:
    """What one drill does that reads the newest backup of every volume in every region."""
    regions = 1 + DESTINATIONS
    items = {"PlanDrill": regions, "VerifyRegions": regions, "VerifySnapshots": VOLUMES * instances * regions}
    run = Run()
    follow(definition, 1, items, run)
    return run


def follow(machine: dict[str, Any], times: int, items: dict[str, int], run: Run) -> None:
    """Follows a part of the machine that is run so many times in all."""
    name = machine["StartAt"]
    while name:
        state = machine["States"][name]
        run.transitions += times
        if state["Type"] == "Task":
            count = run.invocations if state["Resource"].endswith("lambda:invoke") else run.messages
            count[name] += times
        for branch in state.get("Branches", []):
            follow(branch, times, items, run)
        if state["Type"] == "Map":
            if name not in items:
                raise ValueError(f"how many items has the Map {name}? Say it in {Path(__file__).name}")
            processor = state["ItemProcessor"]
            if processor["ProcessorConfig"]["Mode"] == "DISTRIBUTED":
                # A transition for each child that a Distributed Map starts; iterations of an inline Map are free (AWS
                # Step Functions developer guide, "Transitions":
                # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-transitions.html).
                run.transitions += items[name]
                run.children += items[name]
                run.maps += times
            follow(processor, items[name], items, run)
        name = next_state(name, state)


def next_state(name: str, state: dict[str, Any]) -> str:
    if state["Type"] != "Choice":
        return state.get("Next", "")
    chosen = CHOICES.get(name)
    if chosen not in {state.get("Default"), *(choice["Next"] for choice in state["Choices"])}:
        raise ValueError(f"where does a fault-free run go from {name}? Say it in {Path(__file__).name}")
    return chosen


def looks(seconds: int, poll_seconds: int) -> int:
    """Deliveries of a message that waits so long: as workers/domain/src/outcome.rs, poll_delay, has it."""
    age, count = poll_seconds, 1
    while age < seconds:
        pause = max(age // 10, poll_seconds)
        age += (pause + poll_seconds // 2) // poll_seconds * poll_seconds
        count += 1
    return count
