"""The postgresql hook: what was committed before the freeze is in the file system's image of that moment."""

import shutil
import tempfile
from pathlib import Path

from hook_servers import Postgres, Session, postgres_programs, rows_of_image
from hooks import HookTest, Writer, mounted, needs, needs_mounts


@needs((str(postgres_programs() / "postgres"), "postgresql"), ("runuser", "util-linux"), ("psql", "postgresql-client"))
@needs_mounts
class Freeze(HookTest):
    kind = "postgresql"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = cls.enterClassContext(mounted(cls.base, 256))
        cls.server = cls.started(cls.data / "main")
        cls.server.sql("CREATE TABLE orders (id INT PRIMARY KEY);")
        cls.settings = {
            "HOOK_POSTGRES_USER": cls.server.user,
            "HOOK_POSTGRES_HOST": str(cls.server.folder),
        }

    @classmethod
    def started(cls, data, is_new=True):
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="hook-server-")))
        folder.chmod(0o755)
        server = Postgres(folder, data, is_new)
        cls.addClassCleanup(server.stop)
        return server

    def setUp(self):
        super().setUp()
        self.server.sql("DELETE FROM orders")

    def writer(self):
        session = Session(self.server.psql())
        self.addCleanup(session.close)
        return Writer(lambda number: session.sql(f"INSERT INTO orders VALUES ({number})"))

    def test_the_image_of_the_moment_starts_and_has_every_transaction_that_was_committed_before_the_freeze(self):
        copy = self.own / "copy"
        with self.writer() as writer:
            answer = self.pre()
            self.assertIn("CHECKPOINT", answer.out)
            self.assertTrue(writer.waits())
            before = writer.count()
            # What a snapshot of the volume has at this moment.
            shutil.copyfile(self.base / "image", copy)
            self.post()
            writer.goes_on()
        self.assertGreater(writer.count(), before)
        found = rows_of_image(copy, self.own, "orders")
        # The one that was waiting may have been written, and not been answered.
        self.assertGreaterEqual(found, before)
        self.assertLessEqual(found, before + 1)

    def test_it_thaws_when_nobody_comes(self):
        with self.writer() as writer:
            self.pre(freezeSeconds="1")
            writer.goes_on()
        self.assertIn("nobody came within 1 s", self.post(203, "crash").reason)

    def test_a_server_that_does_not_answer(self):
        self.environment["HOOK_POSTGRES_HOST"] = "/nowhere"
        self.refused(206, "does not answer", "/nowhere")

    def test_a_dry_run_says_what_it_would_do(self):
        answer = self.run_hook("dry-run", "None")
        self.assertEqual(answer.code, 0, answer.reason)
        self.assertIn(f"PostgreSQL in {self.data}/main: CHECKPOINT", answer.out)
        self.assertIn(f"freezes {self.data} (/dev/loop", answer.out)
