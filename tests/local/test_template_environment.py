"""What a function reads and is not given is found, and the reverse."""

import unittest

from broken import TEMPLATE, CheckTest
from template_environment import (
    QUEUES,
    RUNTIME,
    functions_are_given_what_they_read,
    functions_read_what_they_are_given,
    the_environment_is_read_in_one_place,
)


class Environment(CheckTest):
    def test_functions_that_are_not_given_what_they_read(self):
        self.finds(
            functions_are_given_what_they_read,
            TEMPLATE,
            "          REPORT_BUCKET: !Ref ReportBucket\n          NOTIFICATION_TOPIC_ARN: !Ref NotificationTopic\n",
            "",
            "ReportFunction reads NOTIFICATION_TOPIC_ARN, and the template does not give it.",
            "ReportFunction reads REPORT_BUCKET, and the template does not give it.",
        )
        self.finds(
            functions_are_given_what_they_read,
            QUEUES,
            "Self::Verify];",
            "Self::Verify, Self::Restore];",
            "ReportFunction reads RESTORE_DEAD_LETTER_QUEUE_URL, and the template does not give it.",
        )
        self.finds(
            functions_are_given_what_they_read,
            RUNTIME,
            'required("MAX_RECEIVE_COUNT")',
            'required("MAX_RECEIVES")',
            *(
                f"{name}Function reads MAX_RECEIVES, and the template does not give it."
                for name in ("Snapshot", "Hook", "WaitComplete", "Copy", "Expire", "Verify")
            ),
        )

    def test_functions_that_are_given_what_they_do_not_read(self):
        self.finds(
            functions_read_what_they_are_given,
            "workers/report/src/main.rs",
            "aws.bucket()?",
            "()",
            "ReportFunction is given REPORT_BUCKET, and does not read it.",
        )
        self.finds(
            functions_read_what_they_are_given,
            TEMPLATE,
            "        RUN_HOURS: !Ref RunHours\n",
            "        RUN_HOURS: !Ref RunHours\n        DRY_RUN: yes\n",
            *(
                f"{name}Function is given DRY_RUN, and does not read it."
                for name in ("Discover", "Snapshot", "Hook", "WaitComplete", "Copy", "Expire", "Verify", "Report")
            ),
        )

    def test_sources_that_read_the_environment_by_themselves(self):
        worker = "workers/copy/src/lib.rs"
        self.finds(
            the_environment_is_read_in_one_place,
            worker,
            "\nuse ",
            '\nconst fn slots() -> bool { std::env::var_os("SLOTS").is_some() }\nuse ',
            f"{worker} reads the environment: {RUNTIME} alone does.",
        )


if __name__ == "__main__":
    unittest.main()
