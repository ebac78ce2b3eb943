"""The checks of metrics, alarms, lines of logs and queries, each of what was broken."""

import unittest

from broken import TEMPLATE, CheckTest
from template_project import Project
from template_signals import (
    CLI,
    METRICS,
    OPERATIONS,
    alarms_judge_silence,
    alarms_say_what_to_do,
    alarms_watch_what_there_is,
    lines_have_documented_fields,
    lines_of_logs,
    metrics_are_documented,
    queries_are_those_of_the_runbook,
    the_count_is_that_of_what_there_is,
)

EXPIRE, DELIVERY = "workers/expire/src/lib.rs", "workers/aws/src/delivery.rs"


class Signals(CheckTest):
    def test_metrics_that_only_one_side_knows(self):
        self.finds(
            metrics_are_documented,
            METRICS,
            "    RunSeconds: Seconds [Home],",
            "    RunTook: Seconds [Home],",
            f"{OPERATIONS} has the metric RunSeconds, which nothing prints.",
            f"{OPERATIONS} says None of RunTook: it is ('Seconds', [('Region',)]).",
        )
        self.finds(
            metrics_are_documented,
            OPERATIONS,
            "| `CopySlotsInUse` | Count | Region, BackupRegion |",
            "| `CopySlotsInUse` | Count | Region |",
            f"{OPERATIONS} says ('Count', [('Region',)]) of CopySlotsInUse: "
            "it is ('Count', [('Region', 'BackupRegion')]).",
        )

    def test_a_count_of_what_is_not_there(self):
        self.finds(
            the_count_is_that_of_what_there_is,
            METRICS,
            "    Complete: Count [Home],",
            "    Complete: Count [Home],\n    Other: Count [Home],",
            f"{OPERATIONS} does not say: There are 24, and 2 more for each destination;",
        )

    def test_alarms_on_what_nothing_sends(self):
        self.finds(
            alarms_watch_what_there_is,
            TEMPLATE,
            "      MetricName: HooksFailed\n",
            "      MetricName: HookFailed\n",
            "HookFailedAlarm watches EbsSnapshots HookFailed by Region, which nothing sends.",
        )
        self.finds(
            alarms_watch_what_there_is,
            TEMPLATE,
            "[{ Name: StateMachineArn, Value: !Ref BackupStateMachine }]",
            "[{ Name: StateMachine, Value: !Ref BackupStateMachine }]",
            "FailedRunAlarm watches AWS/States ExecutionsFailed by StateMachine, which nothing sends.",
        )

    def test_silence_that_is_taken_for_a_good_sign(self):
        self.finds(
            alarms_judge_silence,
            TEMPLATE,
            "      TreatMissingData: breaching\n",
            "      TreatMissingData: notBreaching\n",
            "NoCompleteRunAlarm treats missing data as notBreaching: that is breaching.",
        )
        self.finds(
            alarms_judge_silence,
            TEMPLATE,
            "      TreatMissingData: ignore\n",
            "",
            "BackupTooOldAlarm treats missing data as None: that is ignore.",
        )

    def test_alarms_that_do_not_say_what_to_do(self):
        self.finds(
            alarms_say_what_to_do,
            TEMPLATE,
            "First `ebs-snapshots status ",
            "First `ebs-snapshots health ",
            f"FailedRunAlarm names no command of {CLI} with the stack's name.",
        )
        self.finds(
            alarms_say_what_to_do,
            TEMPLATE,
            'then see "A snapshot is only crash-consistent" in',
            "then see the part about hooks in",
            "HookFailedAlarm names no part of the runbook, or of the README.",
        )

    def test_fields_and_outcomes_that_the_runbook_does_not_have(self):
        self.finds(
            lines_have_documented_fields,
            EXPIRE,
            'snapshot = %id, region, outcome = "deleted"',
            'snap = %id, region, outcome = "gone"',
            f"{EXPIRE} logs the field snap, which {OPERATIONS} does not have.",
            f"{EXPIRE} logs the outcome gone, which {OPERATIONS} does not have.",
            f"{OPERATIONS} has the outcome deleted, which nothing logs.",
        )
        self.finds(
            lines_have_documented_fields,
            DELIVERY,
            'decide!(info, work, "later", seconds, "later"),',
            'decide!(info, work, "waits", pause = seconds, "later"),',
            f"{DELIVERY} logs the field pause, which {OPERATIONS} does not have.",
            f"{DELIVERY} logs the outcome waits, which {OPERATIONS} does not have.",
            f"{OPERATIONS} has the outcome later, which nothing logs.",
        )

    def test_every_line_of_a_worker_is_read(self):
        sources = [path for path, _, _ in lines_of_logs(Project())]
        self.assertGreater(len(sources), 40)
        self.assertEqual(
            {path.split("/")[1] for path in sources},
            {"aws", "copy", "discover", "expire", "hook", "report", "snapshot", "verify"},
        )

    def test_queries_that_are_not_those_of_the_runbook(self):
        self.finds(
            queries_are_those_of_the_runbook,
            TEMPLATE,
            "        | filter snapshot like",
            "        | filter snap like",
            f"StillHereQuery is not the query 'Why is it still here' of {OPERATIONS}.",
        )
        text = "fields @timestamp, run, region, snapshot,"
        both = {path: Project().text(path).replace(text, f"{text} verdict,") for path in (TEMPLATE, OPERATIONS)}
        self.assertEqual(
            list(queries_are_those_of_the_runbook(Project(both))),
            ["The query 'Why is it still here' names verdict, which no function logs."],
        )
        self.finds(
            queries_are_those_of_the_runbook,
            TEMPLATE,
            "LogGroupNames: [!Ref DiscoverLogGroup, !Ref ReportLogGroup]",
            "LogGroupNames: [!Ref DiscoverFunction, !Ref ReportLogGroup]",
            "NothingRanQuery looks into {'Ref': 'DiscoverFunction'}, which is no log group of the template.",
        )


if __name__ == "__main__":
    unittest.main()
