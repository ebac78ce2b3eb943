"""What is wrong with a queue, a function that works it off, or an alarm is found."""

import unittest

from broken import TEMPLATE, CheckTest
from template_project import Project
from template_queues import (
    dead_letter_queues_go_by_the_names_of_their_queues,
    functions_are_watched,
    idle_queues_are_watched,
    loops_are_allowed,
    messages_are_hidden_for_six_time_outs,
    receive_counts_agree,
    runs_are_watched,
    work_queues_have_dead_letters,
    workers_are_told_their_own_queues,
)


class Queues(CheckTest):
    def test_loops_that_lambda_would_stop(self):
        self.finds(
            loops_are_allowed,
            TEMPLATE,
            "      RecursiveLoop: Allow\n",
            "",
            "SnapshotFunction may send to SnapshotQueue, which triggers it, and has no RecursiveLoop: Allow.",
        )

    def test_work_queues_without_dead_letters_of_their_own(self):
        target = "        deadLetterTargetArn: !GetAtt CopyDeadLetterQueue.Arn\n"
        self.finds(
            work_queues_have_dead_letters,
            TEMPLATE,
            f"      RedrivePolicy:\n{target}",
            "      Other:\n",
            "CopyQueue has no dead-letter queue.",
        )
        self.finds(
            work_queues_have_dead_letters,
            TEMPLATE,
            target,
            target.replace("Copy", "Wait"),
            "WaitDeadLetterQueue takes the dead letters of 2 queues: each has one of its own.",
        )

    def test_dead_letters_of_which_no_alarm_tells(self):
        silent = "ExpireDeadLetterQueue triggers no function, and no alarm tells of the first message in it."
        alarm = Project().text(TEMPLATE).split("  ExpireDeadLetterAlarm:\n")[1].split("\n\n")[0]
        for line, instead in {
            "Name: QueueName, Value: !GetAtt ExpireDeadLetterQueue.QueueName": "Name: QueueName, Value: other",
            "Threshold: 0": "Threshold: 10",
            "GreaterThanThreshold": "LessThanThreshold",
            "      AlarmActions: [!Ref NotificationTopic]": "",
        }.items():
            with self.subTest(line):
                self.assertIn(line, alarm)
                self.finds(idle_queues_are_watched, TEMPLATE, alarm, alarm.replace(line, instead), silent)

    def test_visibility_time_outs_that_are_not_six_times_the_functions(self):
        self.finds(
            messages_are_hidden_for_six_time_outs,
            TEMPLATE,
            "VisibilityTimeout: 720",
            "VisibilityTimeout: 360",
            "ExpireQueue hides a message for 360 s: six times the time-out of ExpireFunction is 720 s.",
        )
        self.finds(
            messages_are_hidden_for_six_time_outs,
            TEMPLATE,
            "      Timeout: 120\n",
            "      Timeout: 60\n",
            "ExpireQueue hides a message for 720 s: six times the time-out of ExpireFunction is 360 s.",
        )

    def test_receive_counts_that_the_worker_does_not_know(self):
        self.finds(
            receive_counts_agree,
            TEMPLATE,
            "        maxReceiveCount: 5\n",
            "        maxReceiveCount: 3\n",
            "SnapshotQueue delivers 3 times, and SnapshotFunction is told 5 in MAX_RECEIVE_COUNT.",
        )

    def test_workers_that_are_told_the_queue_of_another(self):
        self.finds(
            workers_are_told_their_own_queues,
            TEMPLATE,
            "QUEUE_URL: !Ref CopyQueue\n          DEAD_LETTER_QUEUE_URL: !Ref CopyDeadLetterQueue",
            "QUEUE_URL: !Ref WaitQueue\n          DEAD_LETTER_QUEUE_URL: !Ref WaitDeadLetterQueue",
            "CopyFunction is given WaitQueue as QUEUE_URL: it works off CopyQueue, so that is CopyQueue.",
            "CopyFunction is given WaitDeadLetterQueue as DEAD_LETTER_QUEUE_URL: it works off CopyQueue, so that is "
            "CopyDeadLetterQueue.",
        )

    def test_reports_that_read_the_dead_letters_of_another_queue(self):
        self.finds(
            dead_letter_queues_go_by_the_names_of_their_queues,
            TEMPLATE,
            "COPY_DEAD_LETTER_QUEUE_URL: !Ref CopyDeadLetterQueue",
            "COPY_DEAD_LETTER_QUEUE_URL: !Ref ExpireDeadLetterQueue",
            "ReportFunction is given ExpireDeadLetterQueue as COPY_DEAD_LETTER_QUEUE_URL: "
            "the dead letters of CopyQueue are in CopyDeadLetterQueue.",
        )

    def test_dead_letters_that_nobody_looks_through(self):
        self.finds(
            dead_letter_queues_go_by_the_names_of_their_queues,
            TEMPLATE,
            "          WAIT_DEAD_LETTER_QUEUE_URL: !Ref WaitDeadLetterQueue\n",
            "",
            "No function is given WAIT_DEAD_LETTER_QUEUE_URL: nobody looks through the dead letters of WaitQueue.",
        )

    def test_functions_and_runs_of_which_no_alarm_tells(self):
        self.finds(
            functions_are_watched,
            TEMPLATE,
            "      MetricName: RecursiveInvocationsDropped\n",
            "      MetricName: Throttles\n",
            "SnapshotFunction has no alarm on RecursiveInvocationsDropped.",
        )
        self.finds(
            runs_are_watched,
            TEMPLATE,
            "      MetricName: ExecutionsTimedOut\n",
            "      MetricName: ExecutionsFailed\n",
            "BackupStateMachine has no alarm on ExecutionsTimedOut.",
        )


if __name__ == "__main__":
    unittest.main()
