"""The costs in README are those of the template, of the state machine and of the prices."""

import difflib
import unittest
from dataclasses import replace

import costs
from cost_counts import (
    PROBED_BLOCKS,
    PROBED_LISTS,
    ROOT,
    follow_drill,
    follow_run,
    looks,
    metric_series,
    read_template,
)
from template_project import Project, triggers

TEXT = (ROOT / "template.yaml").read_text()
ALARM = "\n  FailedRunAlarm:\n"


class Costs(unittest.TestCase):
    def test_readme_has_what_the_program_prints(self):
        readme = costs.README.read_text()
        text = "\n".join(costs.tables(*costs.read(), *costs.read_drills()))
        lines = difflib.ndiff(readme.splitlines(), costs.written(readme, text).splitlines())
        differences = [line for line in lines if line.startswith(("- ", "+ "))]
        if differences:
            self.fail("\n".join(["README.md has other costs: `make costs` writes them anew.", *differences]))

    def test_the_template_is_counted_as_cfn_lint_reads_it(self):
        project, template, added = Project(), costs.read()[0], costs.read_drills()[0]
        resources = project.template["Resources"]

        def of(kind: str, of_drills: bool) -> int:
            """How many there are; in any case, or only where drills are on."""
            conditions = [one.get("Condition") for one in resources.values() if one["Type"] == kind]
            return sum((one in ("DrillsAreOn", "WatchesForProofs")) == of_drills for one in conditions)

        for counted, of_drills in ((template, False), (added, True)):
            self.assertEqual(counted.alarms, of("AWS::CloudWatch::Alarm", of_drills))
            self.assertEqual(counted.dashboards, of("AWS::CloudWatch::Dashboard", of_drills))
            self.assertEqual(counted.queues, of("AWS::SQS::Queue", of_drills))
        self.assertEqual(template.polled_queues + added.polled_queues, len(project.work_queues))
        memory = {name: one["MemorySize"] for name, one in project.functions.items()}
        self.assertEqual({**template.memory, **added.memory}, memory)
        self.assertEqual(list(added.memory), ["VerifyFunction"])
        self.assertEqual(template.tracing, all(one["Tracing"] == "Active" for one in project.functions.values()))
        for parameter, value in {
            "PollSeconds": template.poll_seconds,
            "RunHours": template.run_hours,
            "ReportRetentionDays": template.report_days,
            "LogRetentionDays": template.log_days,
        }.items():
            self.assertEqual(project.parameters[parameter]["Default"], value)
        # An alarm on an expression is charged for each of its metrics.
        metrics = [alarm.get("Metrics", []) for alarm in project.of_type("AWS::CloudWatch::Alarm").values()]
        of_expressions = sum(max(1, sum("MetricStat" in one for one in each)) for each in metrics)
        self.assertEqual(template.alarm_metrics + added.alarm_metrics, of_expressions)

    def test_what_is_polled_all_day_costs_more_with_every_queue(self):
        self.assertTrue(all(len(triggers(function)) <= 1 for function in Project().functions.values()))
        template, definition = costs.read()
        queues = template.polled_queues
        idle = next(line for line in costs.bill(10, template, definition) if "idle polls" in line.what)
        # 15 polls a minute and queue.
        self.assertAlmostEqual(idle.amount, queues * 15 * 60 * costs.HOURS)
        one_more = costs.bill(10, replace(template, polled_queues=queues + 1), definition)
        self.assertAlmostEqual(sum(one.usd() for one in one_more) - total(10), idle.usd() / queues)

    def test_an_alarm_more_and_an_expression_of_two_metrics(self):
        more = TEXT.replace(ALARM, "\n  OneAlarmMore:\n    Type: AWS::CloudWatch::Alarm\n" + ALARM)
        before, after = read_template(TEXT), read_template(more)
        self.assertEqual((after.alarms, after.alarm_metrics), (before.alarms + 1, before.alarm_metrics + 1))
        stat = "          MetricStat: { Stat: Sum }\n"
        expression = more.replace(
            ALARM, f"    Properties:\n      Metrics:\n        - Id: a\n{stat}        - Id: b\n{stat}{ALARM}"
        )
        self.assertEqual(read_template(expression).alarm_metrics, before.alarm_metrics + 2)

    def test_a_run_is_followed_through_the_state_machine(self):
        definition = costs.read()[1]
        ten, twenty = follow_run(definition, 10), follow_run(definition, 20)
        # A child of each instance and of each copy has two tasks, and its start counts; the expiry is the same here.
        self.assertEqual(twenty.children - ten.children, 10 + 20 + 2)
        self.assertEqual(twenty.transitions - ten.transitions, 3 * (10 + 20) + 2 * 2)
        self.assertEqual(ten.messages["Copy"], 20)
        self.assertEqual(ten.invocations["DiscoverExpired"], 17)

    def test_a_drill_is_followed_through_its_state_machine(self):
        drill = costs.read_drills()[1]
        ten, twenty = follow_drill(drill, 10), follow_drill(drill, 20)
        self.assertEqual((ten.messages["Verify"], twenty.messages["Verify"]), (40, 80))
        self.assertEqual(twenty.transitions - ten.transitions, 2 * 40)
        self.assertEqual(ten.invocations, {"StartDrill": 1, "PlanRegion": 2, "ReportDrill": 1})
        self.assertEqual((PROBED_BLOCKS, PROBED_LISTS), (32, 12))

    def test_drills_cost_nothing_while_they_are_off(self):
        drills = {"DrillProven", "DrillFailed", "DrillUnproven", "DrillBlocks", "ProofAgeDays"}
        self.assertEqual(set(metric_series(of_drills=True)), drills)
        self.assertFalse(drills & metric_series().keys())

    def test_states_that_the_program_does_not_know(self):
        definition = costs.read()[1]
        definition["States"]["AnyInstances"]["Choices"][0]["Next"] = "Other"
        with self.assertRaisesRegex(ValueError, "from AnyInstances"):
            follow_run(definition, 10)

    def test_looks_come_less_often_with_time(self):
        self.assertEqual([looks(seconds, 15) for seconds in (10, 15, 30, 150)], [1, 1, 2, 10])
        self.assertLess(looks(7200, 15), 60)

    def test_the_free_tier_is_taken_off_once(self):
        line = costs.Line("a", 800_000, "requests", "queueRequest")
        self.assertAlmostEqual(costs.free([line, line]), 0.40)

    def test_there_are_custom_metrics(self):
        self.assertIn("Complete", metric_series())
        self.assertLessEqual(costs.METRICS_OF_EVERY_HOUR, metric_series().keys())

    def test_every_price_has_a_source(self):
        for name, price in costs.PRICES["prices"].items():
            with self.subTest(name):
                self.assertRegex(price["source"], r"^https://aws\.amazon\.com/.*pricing/")
                self.assertGreater(price["usd"], 0)


def total(instances: int) -> float:
    return sum(line.usd() for line in costs.bill(instances, *costs.read()))


if __name__ == "__main__":
    unittest.main()
