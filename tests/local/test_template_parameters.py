"""What is wrong with a parameter is found."""

import unittest

from broken import README, TEMPLATE, CheckTest
from template_environment import SETTINGS
from template_parameters import (
    NOTIFICATION,
    WORDS,
    parameters_are_in_one_group,
    patterns_hold,
    refusals_say_what_is_allowed,
    settings_agree,
    strings_refuse_typos,
    the_readme_lists_the_parameters,
    words_agree,
)


class Parameters(CheckTest):
    def test_strings_without_a_pattern(self):
        self.finds(
            strings_refuse_typos,
            TEMPLATE,
            "    AllowedValues: [ENABLED, DISABLED]\n",
            "",
            "ScheduleState is a string and has neither AllowedPattern nor AllowedValues.",
        )

    def test_refusals_without_a_sentence(self):
        self.finds(
            refusals_say_what_is_allowed,
            TEMPLATE,
            "One e-mail address is allowed, such as backups@example.com; or nothing.",
            "wrong",
            "NotificationEmail has a pattern and no ConstraintDescription that is a sentence.",
        )

    def test_patterns_that_let_through_or_refuse_too_much(self):
        zones = "'(UTC|[A-Za-z_]+(/[0-9A-Za-z_+-]+)+)'"
        self.finds(
            patterns_hold,
            TEMPLATE,
            zones,
            "'UTC|[A-Z].*'",
            "ScheduleTimezone takes 'CEST'.",
            "ScheduleTimezone takes 'UTC+1'.",
            "ScheduleTimezone takes 'Zurich'.",
            "ScheduleTimezone takes 'Europe/'.",
            "ScheduleTimezone takes 'Europe / Zurich'.",
        )
        self.finds(
            patterns_hold,
            TEMPLATE,
            zones,
            "'UTC|([A-Za-z_-]+(/[A-Za-z_-]+)+)'",
            "ScheduleTimezone refuses 'Etc/GMT+5'.",
        )

    def test_patterns_that_are_not_tried(self):
        self.finds(
            patterns_hold,
            TEMPLATE,
            "    AllowedValues: [ENABLED, DISABLED]\n",
            "    AllowedPattern: ENABLED|DISABLED\n",
            "ScheduleState has a pattern that is not tried here.",
        )
        self.finds(
            patterns_hold,
            TEMPLATE,
            "    AllowedPattern: '(UTC",
            "    # '(UTC",
            "ScheduleTimezone has no pattern to try.",
        )

    def test_parameters_in_no_group(self):
        self.finds(
            parameters_are_in_one_group,
            TEMPLATE,
            "ScheduleState, RunHours]",
            "ScheduleStat, RunHours]",
            "ScheduleState is in 0 parameter groups.",
            "ScheduleStat is in a parameter group, and no parameter.",
        )

    def test_the_readme_with_another_default(self):
        self.finds(
            the_readme_lists_the_parameters,
            README,
            "| `PollSeconds` | 15 |",
            "| `PollSeconds` | 20 |",
            "PollSeconds has the default 15, and the README says 20.",
        )
        self.finds(
            the_readme_lists_the_parameters,
            README,
            "| `cron(0 3 * * ? *)`, `UTC` |",
            "| `cron(0 3 * * ? *)` |",
            "ScheduleTimezone has the default UTC, and the README says nothing.",
        )

    def test_the_readme_without_a_parameter_or_with_another_one(self):
        self.finds(
            the_readme_lists_the_parameters,
            README,
            "| `PollSeconds` | 15 |",
            "| `PollMinutes` | 15 |",
            "PollSeconds is 0 times in the README's table of parameters.",
            "PollMinutes is in the README's table of parameters, and is none.",
        )

    def test_settings_with_another_default_or_range_than_the_template(self):
        self.finds(
            settings_agree,
            TEMPLATE,
            "    Default: 20\n    MinValue: 1\n    MaxValue: 30\n",
            "    Default: 21\n    MaxValue: 40\n",
            "RunHours has Default 21, and Settings has 20.",
            "RunHours has MinValue None, and Settings has 1.",
            "RunHours has MaxValue 40, and Settings has 30.",
        )
        self.finds(
            settings_agree,
            SETTINGS,
            'number("COPY_CONCURRENCY", 5, 1..=20)',
            'number("COPY_CONCURRENCY", 5, 1..=10)',
            "CopyConcurrency has MaxValue 20, and Settings has 10.",
        )
        self.finds(
            settings_agree,
            TEMPLATE,
            '  ExpireRegions:\n    Type: String\n    Default: ""\n',
            "  ExpireRegions:\n    Type: String\n    Default: eu-west-1\n",
            "ExpireRegions has Default 'eu-west-1', and Settings has ''.",
        )
        self.finds(
            settings_agree,
            WORDS[0],
            '"list, probe, copy or dump"',
            '"list or dump"',
            "DrillLevel has AllowedValues ['list', 'probe', 'copy', 'dump'], and Settings has ['list', 'dump'].",
        )

    def test_settings_that_are_given_another_parameter_or_none(self):
        self.finds(
            settings_agree,
            TEMPLATE,
            "COPY_LOOKBACK_DAYS: !Ref CopyLookbackDays",
            "COPY_LOOKBACK_DAYS: !Ref MinimumKept",
            "COPY_LOOKBACK_DAYS is given MinimumKept.",
            "MinimumKept has Default 1, and Settings has 7.",
            "MinimumKept has MinValue 0, and Settings has 1.",
            "MinimumKept has MaxValue 1000, and Settings has 365.",
        )
        self.finds(
            settings_agree,
            TEMPLATE,
            "        RUN_HOURS: !Ref RunHours\n",
            "",
            "RUN_HOURS could not be found in Globals of the template.",
        )
        self.finds(
            settings_agree,
            SETTINGS,
            'number("RUN_HOURS", 20, 1..=30)',
            'hours("RUN_HOURS")',
            f"RUN_HOURS could not be found in {SETTINGS}.",
        )


if __name__ == "__main__":
    unittest.main()

    def test_words_of_notify_on_that_the_report_does_not_know(self):
        self.finds(
            words_agree,
            TEMPLATE,
            "[failure, always, never]",
            "[failure, always]",
            f"NotifyOn allows ['failure', 'always'], and {NOTIFICATION} has ['failure', 'always', 'never'].",
        )
        self.finds(
            words_agree,
            TEMPLATE,
            "    Default: failure\n",
            "    Default: never\n",
            f"NotifyOn has the default never, and {NOTIFICATION} another one.",
        )
