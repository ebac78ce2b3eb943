"""The checks of the dashboard, each of what was broken."""

import unittest

from broken import TEMPLATE, CheckTest
from template_dashboard import dashboards, metrics_are_printed_or_of_aws, overlap, searched, widgets_lie_in_the_grid
from template_project import Project

AGES = "'Hours: age of the oldest newest backup, by region'"


class Dashboard(CheckTest):
    def test_it_is_read_with_names_and_parameters_in_their_place(self):
        (name, body), (other, _) = dashboards(Project())
        self.assertEqual((name, other), ("Dashboard", "DrillDashboard"))
        of_runs = next(one for one in body["widgets"] if one["properties"].get("title") == "Runs")
        self.assertEqual(
            of_runs["properties"]["metrics"][0][:4],
            [
                "AWS/States",
                "ExecutionsSucceeded",
                "StateMachineArn",
                "arn:aws:states:eu-west-1:111122223333:stateMachine:BackupStateMachine",
            ],
        )
        limits = [
            line["value"]
            for one in body["widgets"]
            for line in one["properties"].get("annotations", {}).get("horizontal", [])
        ]
        self.assertEqual(limits, [48, 5, 900000])

    def test_metrics_that_nothing_sends(self):
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '["EbsSnapshots", "CopiesMade", "Region"',
            '["EbsSnapshots", "CopiesDone", "Region"',
            "Dashboard: 'Copies of a run' shows EbsSnapshots CopiesDone by Region, which nothing sends.",
            "No dashboard shows CopiesMade.",
        )
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '["EbsSnapshots", "RunSeconds", "Region", "${AWS::Region}"',
            '["EbsSnapshots", "RunSeconds", "Stack", "${AWS::StackName}"',
            "Dashboard: 'Seconds that a run took' shows EbsSnapshots RunSeconds by Stack, which nothing sends.",
            "Dashboard: 'Seconds that a run took' shows RunSeconds of all stacks.",
        )
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '["AWS/Lambda", "Duration", "FunctionName"',
            '["AWS/Lambda", "Seconds", "FunctionName"',
            "Dashboard: 'Longest invocation' shows AWS/Lambda Seconds by FunctionName, which nothing sends.",
        )

    def test_searches_and_expressions_that_are_not_well_formed(self):
        named = 'MetricName="BackupAgeHours" Region="eu-west-1"'
        good = f"SEARCH('{{EbsSnapshots,Region,BackupRegion}} {named}', 'Maximum', 300)"
        self.assertEqual(
            searched(good), ("EbsSnapshots", "BackupAgeHours", (("Region", "eu-west-1"), ("BackupRegion", "")))
        )
        for old, new in {
            "'Maximum'": "'Most'",
            ", 300)": ", 90)",
            "} MetricName": "}, MetricName",
            'Region="eu-west-1"': 'Home="eu-west-1"',
            "{EbsSnapshots,": "EbsSnapshots,",
        }.items():
            self.assertIsNone(searched(good.replace(old, new, 1)), new)
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '{EbsSnapshots,Region,BackupRegion} MetricName=\\"BackupAgeHours\\"',
            '{EbsSnapshots,Region,Destination} MetricName=\\"BackupAgeHours\\"',
            f"Dashboard: {AGES} shows EbsSnapshots BackupAgeHours by Region, Destination, which nothing sends.",
        )
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '"consumed * PERIOD(consumed)"',
            '"used * 60"',
            "Dashboard: 'What Step Functions charges: state transitions of the account' has an expression that is not "
            "of its own metrics: used * 60.",
        )

    def test_names_and_regions_that_are_not_put_in_their_place(self):
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '"FunctionName", "${CopyFunction}"',
            '"FunctionName", "${CopyWorker}"',
            "The dashboard names CopyWorker, which is neither a parameter nor a resource.",
        )
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '"FunctionName", "${CopyFunction}"',
            '"FunctionName", "${!CopyFunction}"',
            "Dashboard: 'Errors of the functions' has a name that is not put in its place.",
            "No dashboard shows the errors of CopyFunction.",
        )
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '"title": "Runs", "region": "${AWS::Region}"',
            '"title": "Runs", "region": "us-east-1"',
            "Dashboard: 'Runs' is not of the stack's region.",
        )

    def test_queues_that_are_left_out_and_what_is_no_json(self):
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '"QueueName", "${ScheduleDeadLetterQueue.QueueName}"',
            '"QueueName", "${CopyDeadLetterQueue.QueueName}"',
            "No dashboard shows ScheduleDeadLetterQueue.",
        )
        self.finds(
            metrics_are_printed_or_of_aws,
            TEMPLATE,
            '          "start": "-P7D",',
            '          "start": "-P7D"',
            "The dashboard is no JSON: Expecting ',' delimiter: line 3 column 3 (char 22).",
        )

    def test_widgets_that_overlap_or_leave_the_grid(self):
        self.finds(
            widgets_lie_in_the_grid,
            TEMPLATE,
            '"x": 12, "y": 6, "width": 12',
            '"x": 11, "y": 6, "width": 12',
            f"Dashboard: {AGES} and 'Copies in flight, by region' overlap.",
        )
        self.finds(
            widgets_lie_in_the_grid,
            TEMPLATE,
            '"x": 12, "y": 6, "width": 12',
            '"x": 12, "y": 6, "width": 13',
            "Dashboard: 'Copies in flight, by region' is not in the 24 columns.",
        )
        self.assertFalse(overlap((0, 0, 12, 6), (12, 0, 12, 6)))
        self.assertFalse(overlap((0, 0, 12, 6), (0, 6, 12, 6)))
        self.assertTrue(overlap((0, 0, 12, 6), (11, 5, 12, 6)))


if __name__ == "__main__":
    unittest.main()
