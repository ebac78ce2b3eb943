"""What the system itself costs in a month, without the snapshots and the transfer of copies.

    python tests/local/costs.py           prints the tables
    python tests/local/costs.py --write   writes them into README.md, between their markers; `make costs` does so

Counts are of a full, fault-free run each day, and of a drill each week, from the template, the state machines and the
code (cost_counts.py), and rounded up where they are not known: nothing is batched that might be. Prices are in
prices.json, dated, with their sources. The free tier is shown apart, and never taken off: other parts of the account
may use it up.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cost_counts import (
    COPY_SECONDS,
    DESTINATIONS,
    KEPT,
    PROBED_BLOCKS,
    PROBED_LISTS,
    ROOT,
    SNAPSHOT_SECONDS,
    SWEPT_REGIONS,
    VOLUMES,
    Run,
    Template,
    follow_drill,
    follow_run,
    looks,
    metric_series,
    read_definition,
    read_template,
)

PRICES = json.loads(Path(__file__).with_name("prices.json").read_text())
README, BEGIN, END = (
    ROOT / "README.md",
    "<!-- written by `make costs` -->",
    "<!-- the end of what `make costs` writes -->",
)
FLEETS = (10, 100, 1000)
# 365.25 / 12.
DAYS, HOURS = 30.44, 730.5

# ---- Facts of AWS ----

# Lambda reads a standard queue with five long polls at once; it goes down to two where traffic is low, but not where
# MaximumConcurrency is set, as here (AWS Lambda developer guide, "Configuring scaling behavior for SQS event source
# mappings": https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
POLLERS = 5
# The longest poll (Amazon SQS developer guide, "Setting-up long polling"). That Lambda's takes so long is not
# documented, and was seen by others: 15 empty receives a minute (github.com/getlift/lift, issue 132).
POLL_SECONDS = 20
# Sent, received and deleted, each by itself, though Lambda takes up to ten at once. All are below 64 KB, one request.
REQUESTS_PER_DELIVERY = 3

# ---- Assumptions about time and size, on the large side ----

# A worker makes a few calls of 100 ms, and starts anew now and then.
WORKER_SECONDS = 0.5
# Thirty blocks of half a MiB, one after the other, each of which EBS takes some 50 ms for, and some for the lists.
VERIFY_SECONDS = 5
# Twenty deletions within EC2's request limit.
EXPIRE_SECONDS = 10
# Discover and report: by themselves, and for each 1,000 snapshots that they read.
LISTING_SECONDS, LISTING_SECONDS_PER_1000 = 5, 3
# One line of ours and Lambda's own three; and a line for each instance, copy and deletion that is planned.
LOG_BYTES_PER_INVOCATION, LOG_BYTES_PER_LINE = 2000, 600
# Claims: one is made and then gets its ids, and the copies' are listed (workers/domain/src/claims.rs). Per region: the
# verdicts, what stays, what goes. Per Map Run: its ResultWriter's files. Besides these, the files of the run itself.
WRITES_PER_INSTANCE, WRITES_PER_COPY, WRITES_PER_REGION, WRITES_PER_MAP, WRITES_PER_RUN = 2, 3, 4, 4, 20
# A claim that is looked at, the fleet and a list per region, what the report reads.
READS_PER_INSTANCE, READS_PER_COPY, READS_PER_REGION, READS_PER_RUN = 2, 2, 4, 50
# In fleet.json twice and in a manifest; a line of the verdicts; a child's result.
BYTES_PER_INSTANCE, BYTES_PER_SNAPSHOT, BYTES_PER_CHILD = 5000, 300, 3000
# Requests for each queue's dead letters at the end of a run.
REPORT_REQUESTS_PER_QUEUE = 3
# Custom metrics are charged by the hour, for hours in which they are sent (CloudWatch pricing page, "Metrics"). The
# report sends each of them once a run; these are sent while copies are made, and wherever EC2 throttles.
METRICS_OF_EVERY_HOUR = frozenset({"CopySlotsInUse", "Ec2Throttled"})
# A drill a week, with the defaults; its record is written once and looked at twice.
DRILLS = DAYS / 7
DRILL_WRITES_PER_BACKUP, DRILL_READS_PER_BACKUP, DRILL_FILES = 2, 3, 20
# Mails of a run, and of alarms now and then.
MAILS_A_DAY = 2

# ---- The example of what comes on top: data of a volume, and the share of it that changes in a day ----

DATA_GB, CHANGED = 50, 0.02


@dataclass(frozen=True)
class Line:
    """An item of the bill: what it is, how much of it in a month, and its price."""

    what: str
    amount: float
    unit: str
    price: str

    def usd(self) -> float:
        return cost(self.price, self.amount)


def cost(name: str, amount: float) -> float:
    price = PRICES["prices"][name]
    return amount * price["usd"] / price["per"]


def free(lines: list[Line]) -> float:
    """What an account's free tier takes off, if nothing else uses it."""
    amounts: dict[str, float] = {}
    for line in lines:
        amounts[line.price] = amounts.get(line.price, 0) + line.amount
    return sum(cost(name, min(amount, PRICES["prices"][name]["free"])) for name, amount in amounts.items())


def deliveries(run: Run, template: Template) -> dict[str, float]:
    """Deliveries of a run's messages, by function: a wait is delivered once for each look."""
    waits = {"WaitComplete": SNAPSHOT_SECONDS, "WaitCopyComplete": COPY_SECONDS}
    functions = {"WaitComplete": "WaitCompleteFunction", "WaitCopyComplete": "WaitCompleteFunction"}
    found: dict[str, float] = {}
    for state, count in run.messages.items():
        function = functions.get(state, f"{state}Function")
        each = looks(waits[state], template.poll_seconds) if state in waits else 1
        found[function] = found.get(function, 0) + count * each
    return found


def bill(instances: int, template: Template, definition: dict[str, object]) -> list[Line]:
    """The items of a month."""
    run = follow_run(definition, instances)
    snapshots = instances * VOLUMES * KEPT * (1 + DESTINATIONS)
    delivered = deliveries(run, template)
    invocations = dict(delivered)
    for state, count in run.invocations.items():
        function = "ReportFunction" if state == "Report" else "DiscoverFunction"
        invocations[function] = invocations.get(function, 0) + count
    listing = LISTING_SECONDS + LISTING_SECONDS_PER_1000 * snapshots / 1000
    seconds = {"DiscoverFunction": listing, "ReportFunction": listing, "ExpireFunction": EXPIRE_SECONDS}
    gb_seconds = sum(
        count * seconds.get(name, WORKER_SECONDS) * template.memory[name] / 1024 for name, count in invocations.items()
    )
    called = sum(invocations.values())
    copies = instances * VOLUMES * DESTINATIONS
    writes = (
        instances * WRITES_PER_INSTANCE
        + copies * WRITES_PER_COPY
        + (SWEPT_REGIONS + DESTINATIONS) * WRITES_PER_REGION
        + run.maps * WRITES_PER_MAP
        + WRITES_PER_RUN
    )
    reads = instances * READS_PER_INSTANCE + copies * READS_PER_COPY + SWEPT_REGIONS * READS_PER_REGION + READS_PER_RUN
    stored = instances * BYTES_PER_INSTANCE + snapshots * BYTES_PER_SNAPSHOT + run.children * BYTES_PER_CHILD
    planned = instances + copies + instances * VOLUMES * (1 + DESTINATIONS)
    log_gb = (called * LOG_BYTES_PER_INVOCATION + planned * LOG_BYTES_PER_LINE) * DAYS / 1e9
    series = metric_series()
    metric_months = sum(
        count * (1 if name in METRICS_OF_EVERY_HOUR else DAYS / HOURS) for name, count in series.items()
    )
    polls = template.polled_queues * POLLERS * HOURS * 3600 / POLL_SECONDS
    worked = sum(delivered.values()) * REQUESTS_PER_DELIVERY + template.queues * REPORT_REQUESTS_PER_QUEUE
    size = f"{min(template.memory.values())} to {max(template.memory.values())} MB"
    return [
        Line("Step Functions", run.transitions * DAYS, "transitions and starts of children", "transition"),
        Line(f"Lambda, {len(template.memory)} functions", called * DAYS, "invocations", "invocation"),
        Line(f"their time, with {size}", gb_seconds * DAYS, "GB-seconds", "gbSecondArm"),
        Line("SQS, the work", worked * DAYS, "requests", "queueRequest"),
        Line(f"SQS, idle polls of {template.polled_queues} queues", polls, "requests", "queueRequest"),
        Line(f"CloudWatch, {template.alarms} alarms", template.alarm_metrics, "metrics of alarms", "alarmMetric"),
        Line(f"CloudWatch, {sum(series.values())} custom metrics", metric_months, "months of a metric", "metric"),
        Line("CloudWatch dashboards", template.dashboards, "in the template", "dashboard"),
        Line("logs, written", log_gb, "GB", "logGb"),
        Line(f"logs, kept {template.log_days} days", log_gb * template.log_days / DAYS, "GB", "logGbMonth"),
        # Each invocation and each child by itself, and none left out by sampling (one a second and 5 % of the rest).
        Line("X-Ray", (called + run.children) * DAYS if template.tracing else 0, "traces at most", "trace"),
        Line("S3, writes and lists", writes * DAYS, "requests", "objectWrite"),
        Line("S3, reads", reads * DAYS, "requests", "objectRead"),
        Line(f"S3, kept {template.report_days} days", stored * template.report_days / 1e9, "GB", "objectGbMonth"),
        Line("SNS", MAILS_A_DAY * DAYS, "mails", "mail"),
        Line("EventBridge Scheduler", DAYS, "starts", "schedule"),
    ]


def bill_of_drills(instances: int, template: Template, added: Template, definition: dict[str, object]) -> list[Line]:
    """What a drill each week adds in a month: what there is only for it, and what it uses of the rest."""
    run = follow_drill(definition, instances)
    backups = run.messages["Verify"]
    called = sum(run.invocations.values())
    listing = LISTING_SECONDS + LISTING_SECONDS_PER_1000 * backups * KEPT / 1000
    gb_seconds = backups * VERIFY_SECONDS * added.memory["VerifyFunction"] / 1024
    gb_seconds += called * listing * template.memory["DiscoverFunction"] / 1024
    series = metric_series(of_drills=True)
    # What is not proven is said by every run.
    metric_months = sum(
        count * (DRILLS if name.startswith("Drill") else DAYS) / HOURS for name, count in series.items()
    )
    requests = backups * REQUESTS_PER_DELIVERY * DRILLS
    polls = added.polled_queues * POLLERS * HOURS * 3600 / POLL_SECONDS
    log_gb = (called + 2 * backups) * LOG_BYTES_PER_INVOCATION * DRILLS / 1e9
    return [
        Line("EBS, blocks", backups * (PROBED_BLOCKS + 1) * DRILLS, "blocks", "ebsBlock"),
        Line("EBS, lists of blocks", backups * PROBED_LISTS * DRILLS, "lists", "ebsList"),
        Line("Step Functions", run.transitions * DRILLS, "transitions and starts of children", "transition"),
        Line("Lambda", (called + backups) * DRILLS, "invocations", "invocation"),
        Line("its time", gb_seconds * DRILLS, "GB-seconds", "gbSecondArm"),
        Line("SQS, the work and idle polls", requests + polls, "requests", "queueRequest"),
        Line(f"CloudWatch, {added.alarms} alarms", added.alarm_metrics, "metrics of alarms", "alarmMetric"),
        Line(f"CloudWatch, {sum(series.values())} custom metrics", metric_months, "months of a metric", "metric"),
        Line("CloudWatch dashboards", added.dashboards, "in the template", "dashboard"),
        Line("logs, written", log_gb, "GB", "logGb"),
        Line("X-Ray", (called + 2 * backups) * DRILLS if template.tracing else 0, "traces at most", "trace"),
        Line(
            "S3, writes and lists",
            (backups * DRILL_WRITES_PER_BACKUP + run.maps * WRITES_PER_MAP + DRILL_FILES) * DRILLS,
            "requests",
            "objectWrite",
        ),
        Line("S3, reads", (backups * DRILL_READS_PER_BACKUP + DRILL_FILES) * DRILLS, "requests", "objectRead"),
    ]


def dollars(usd: float) -> str:
    return f"{usd:,.2f}" if usd >= 0.005 or usd == 0 else "under 0.01"


def counted(amount: float) -> str:
    """Three digits are more than the assumptions are worth."""
    if amount >= 1000:
        digits = 10 ** (len(str(int(amount))) - 2)
        return f"{round(amount / digits) * digits:,}"
    return f"{amount:.3g}"


def slots(instances: int, template: Template) -> int:
    """The slots of a destination that a day's copies need within a run."""
    return -(-instances * VOLUMES * COPY_SECONDS // (template.run_hours * 3600))


def on_top(instances: int) -> tuple[float, float]:
    """A month's storage and transfer of the example."""
    data = instances * VOLUMES * DATA_GB
    stored = data * (1 + (KEPT - 1) * CHANGED) * (1 + DESTINATIONS)
    moved = data * CHANGED * DAYS * DESTINATIONS
    return cost("snapshotGbMonth", stored), cost("regionTransferGb", moved)


def row(what: str, cells: list[str], unit: str) -> str:
    return f"| {what} | {' | '.join(cells)} | {unit} |"


def table(title: str, bills: list[list[Line]]) -> Iterator[str]:
    """Bills beside each other, with their sums."""
    yield row(title, [f"{instances:,} instances" for instances in FLEETS], "counted")
    yield row("---", ["---:"] * len(FLEETS), "---").replace(" ", "")
    for lines in zip(*bills, strict=True):
        amounts = [counted(line.amount) for line in lines]
        unit = f"{amounts[0] if len(set(amounts)) == 1 else '; '.join(amounts)} {lines[0].unit}"
        if any(line.amount for line in lines):
            yield row(lines[0].what, [dollars(line.usd()) for line in lines], unit)
    totals = [sum(line.usd() for line in lines) for lines in bills]
    yield row("**all**", [f"**{dollars(usd)}**" for usd in totals], "")


def tables(
    template: Template, definition: dict[str, object], added: Template, drill: dict[str, object]
) -> Iterator[str]:
    """The lines for README."""
    bills = [bill(instances, template, definition) for instances in FLEETS]
    yield from table("USD a month", bills)
    frees = [free(lines) for lines in bills]
    yield row("a free tier that nothing else uses takes off", [dollars(usd) for usd in frees], "never relied on")
    yield ""
    yield from table("a drill each week, on top", [bill_of_drills(n, template, added, drill) for n in FLEETS])
    yield ""
    yield f"Prices of {PRICES['asOf']} in {PRICES['region']}, with their sources in `tests/local/prices.json`."
    yield ""
    yield row("on top, an example", [f"{instances:,} instances" for instances in FLEETS], "counted")
    yield row("---", ["---:"] * len(FLEETS), "---").replace(" ", "")
    size = f"{DATA_GB} GB a volume, of which {CHANGED:.0%} change in a day, kept {KEPT} days"
    yield row("snapshots here and in one region", [dollars(on_top(n)[0]) for n in FLEETS], size)
    yield row("transfer of the copies", [dollars(on_top(n)[1]) for n in FLEETS], "the first copies come once, besides")
    yield row(
        "slots that a day's copies need",
        [str(slots(n, template)) for n in FLEETS],
        f"{COPY_SECONDS // 60} minutes a copy",
    )


def read() -> tuple[Template, dict[str, object]]:
    template = read_template((ROOT / "template.yaml").read_text())
    return template, read_definition((ROOT / "statemachine/backup.asl.json").read_text())


def read_drills() -> tuple[Template, dict[str, object]]:
    """The same of drills: what they add to the template, and their state machine."""
    added = read_template((ROOT / "template.yaml").read_text(), of_drills=True)
    return added, read_definition((ROOT / "statemachine/drill.asl.json").read_text())


def written(readme: str, text: str) -> str:
    """README with this text between its markers."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        sys.exit(f"README.md has to have each of the lines {BEGIN} and {END} once")
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints what the system itself costs in a month.")
    parser.add_argument("--write", action="store_true", help="write the tables into README.md")
    text = "\n".join(tables(*read(), *read_drills()))
    print(text)
    if parser.parse_args().write:
        README.write_text(written(README.read_text(), text))


if __name__ == "__main__":
    main()
