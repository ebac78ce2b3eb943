"""The mariadb hook against a real server whose data is on a file system of its own."""

import hashlib
import os
import signal
import subprocess
import tempfile
import unittest
import uuid
from pathlib import Path

from hook_servers import MariaDb, Session
from hooks import ROOT, HookTest, Writer, mounted, needs, needs_mounts, wait_until

DUMPS = ROOT / "databases/mariadb-backup.sh"


class MariaDbTest(HookTest):
    kind = "mariadb"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = cls.enterClassContext(mounted(cls.base, 256))
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="hook-server-")))
        folder.chmod(0o755)
        cls.server = MariaDb(folder, cls.data)
        cls.addClassCleanup(cls.server.stop)
        cls.server.sql("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY) ENGINE=InnoDB;")
        cls.option_file = cls.base / "client.cnf"
        cls.option_file.write_text(f"[client]\nsocket={cls.server.socket}\nuser=root\n")
        cls.option_file.chmod(0o600)
        cls.settings = {"HOOK_OPTION_FILE": str(cls.option_file)}

    def setUp(self):
        super().setUp()
        self.server.sql("DELETE FROM shop.orders")

    def writer(self):
        session = Session(self.server.client("--unbuffered"))
        self.addCleanup(session.close)
        return Writer(lambda number: session.sql(f"INSERT INTO shop.orders VALUES ({number})"))

    def hook_session(self):
        """The id of the session that holds the lock."""
        rows = self.server.sql("SELECT id, user, command FROM information_schema.processlist")
        own = [row[0] for row in rows if row[2] == "Sleep"]
        return own[-1] if own else None


@needs(("mariadbd", "mariadb-server"))
@needs_mounts
class Lock(MariaDbTest):
    def test_a_write_of_another_session_waits_until_the_thaw(self):
        with self.writer() as writer:
            answer = self.pre()
            self.assertIn("BACKUP STAGE BLOCK_COMMIT", answer.out)
            self.assertIn(f"freezes {self.data}", answer.out)
            self.assertTrue(writer.waits())
            before = writer.count()
            self.post()
            writer.goes_on()
        self.assertGreater(writer.count(), before)
        self.assertEqual(self.server.sql("SELECT COUNT(*) FROM shop.orders"), [[str(writer.count())]])

    def test_the_lock_is_held_by_itself_and_not_by_the_frozen_file_system_alone(self):
        self.pre()
        subprocess.run(["fsfreeze", "--unfreeze", self.data], check=True)
        with tempfile.TemporaryFile() as output:
            write = subprocess.Popen(
                self.server.client("--execute=INSERT INTO shop.orders VALUES (1)"), stdout=output, stderr=output
            )
            states = "SELECT state FROM information_schema.processlist WHERE info LIKE 'INSERT%'"
            wait_until(lambda: ["Waiting for backup lock"] in self.server.sql(states), "the write waits for the lock")
            self.assertIsNone(write.poll())
            self.post()
            self.assertEqual(write.wait(60), 0)

    def test_it_thaws_when_nobody_comes(self):
        with self.writer() as writer:
            self.pre(freezeSeconds="1")
            writer.goes_on()
        self.assertIn("nobody came within 1 s", self.post(203, "crash").reason)

    def test_it_thaws_when_its_session_ends(self):
        with self.writer() as writer:
            self.pre()
            # As when its client is killed, or its server goes away.
            client = self.client_of_the_hook()
            os.kill(client, signal.SIGKILL)
            writer.goes_on()
        self.assertIn("session that held the lock had ended", self.post(203, "crash").reason)

    def client_of_the_hook(self):
        found = subprocess.run(
            ["pgrep", "--full", f"defaults-extra-file={self.option_file}.*--unbuffered"], capture_output=True, text=True
        )
        return int(found.stdout.split()[0])

    def test_a_lock_that_is_not_to_be_had_fails_and_leaves_nothing_frozen(self):
        other = Session(self.server.client("--unbuffered"))
        self.addCleanup(other.close)
        other.sql("BACKUP STAGE START")
        self.environment["HOOK_LOCK_SECONDS"] = "1"
        self.refused(201, "lock was not got within 1 s", "Lock wait timeout")
        other.sql("BACKUP STAGE END")
        self.server.sql("INSERT INTO shop.orders VALUES (1)")
        self.refused(205, "froze nothing", command="post-script")

    def test_a_second_execution_is_refused_while_one_is_open(self):
        self.pre()
        self.refused(204, "is open", execution=str(uuid.uuid4()))
        self.post()

    def test_a_dry_run_says_what_it_would_do(self):
        answer = self.run_hook("dry-run", "None")
        self.assertEqual(answer.code, 0, answer.reason)
        self.assertRegex(answer.out, r"MariaDB \d+\.\d+.*BACKUP STAGE START, BACKUP STAGE BLOCK_COMMIT")
        self.assertFalse(self.state.exists())

    def test_a_server_that_does_not_answer(self):
        self.option_file.write_text("[client]\nsocket=/nowhere\n")
        self.addCleanup(self.option_file.write_text, f"[client]\nsocket={self.server.socket}\nuser=root\n")
        self.refused(206, "does not answer", "/nowhere")

    def test_a_password_file_that_others_can_read_is_refused(self):
        self.option_file.chmod(0o644)
        self.addCleanup(self.option_file.chmod, 0o600)
        self.refused(206, "holds a password", "chmod 600")

    @unittest.skipUnless(DUMPS.exists(), f"{DUMPS.name} is not there")
    def test_the_dump_of_the_script_of_this_project_is_told_of(self):
        folder = self.data / "dumps"
        folder.mkdir(mode=0o700)
        self.environment.update(HOOK_MODE="dump", HOOK_DUMP_PROGRAM=str(DUMPS), DB_BACKUP_FOLDER=str(folder))
        self.environment.update(DB_BACKUP_OPTION_FILE=str(self.option_file))
        told = self.pre().said["dump"]
        dump = (self.data / told["path"].lstrip("/")).read_bytes()
        self.assertEqual((len(dump), hashlib.sha256(dump).hexdigest()), (told["bytes"], told["sha256"]))
        self.assertRegex(told["at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(self.post().said["dump"], told)


STAND_IN = """#!/bin/bash
set -e
echo "the server is quiet"
sleep "${SLEEP:-0}"
cat > "$DB_BACKUP_FOLDER/db-2026-11-22.sql.gz" <<< dump
cat > "$DB_BACKUP_FOLDER/db-2026-11-22.sql.gz.json" <<END
{
  "schema": 1,
  "status": "${STATUS:-complete}",
  "path": "$DB_BACKUP_FOLDER/db-2026-11-22.sql.gz",
  "sha256": "0a1b",
  "bytes": 5,
  "endedAt": "2026-11-22T02:00:01Z",
  "serverHost": "db1",
  "consistency": "${CONSISTENCY:-single-transaction}",
  "databases": [
    {"name": "shop", "tables": 1}${MORE-}
  ],
  "nonTransactionalTables": [${TABLES-}]
}
END
exit "${CODE:-0}"
"""


@needs_mounts
@needs(("mariadb", "mariadb-client"))
class Dump(HookTest):
    """A dump and then the snapshot; the program that dumps is played here, but for the last test."""

    kind = "mariadb"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = cls.enterClassContext(mounted(cls.base, 16))

    def setUp(self):
        super().setUp()
        self.program = self.own / "mariadb-backup.sh"
        self.program.write_text(STAND_IN)
        self.program.chmod(0o755)
        self.dumps = self.data / "dumps"
        self.dumps.mkdir(mode=0o700, exist_ok=True)
        self.environment.update(HOOK_MODE="dump", HOOK_DUMP_PROGRAM=str(self.program), DB_BACKUP_FOLDER=str(self.dumps))

    def test_it_says_where_the_dump_is_and_freezes_nothing(self):
        answer = self.pre()
        device = subprocess.run(["findmnt", "-n", "-o", "SOURCE", self.data], capture_output=True, text=True).stdout
        expected = {
            "at": "2026-11-22T02:00:01Z",
            "volume": "",
            "device": device.strip(),
            "path": "/dumps/db-2026-11-22.sql.gz",
            "sha256": "0a1b",
            "bytes": 5,
        }
        self.assertEqual(answer.said["dump"], expected)
        (self.data / "written").write_text("at once")
        other = str(uuid.uuid4())
        self.refused(204, "is open", execution=other)
        thawed = self.post()
        self.assertEqual(thawed.said["dump"], expected)
        self.assertIn("nothing was frozen", thawed.out)

    def test_the_volume_is_named_where_the_device_shows_it(self):
        programs = self.own / "programs"
        programs.mkdir()
        self.environment["PATH"] = f"{programs}:{self.environment['PATH']}"
        nitro, other = "disk vol0123456789abcdef0", "disk vol0fedcba9876543210"
        for shown, volume in (
            (f"part\n{nitro}", "vol-0123456789abcdef0"),
            (f"lvm\n{nitro}\n{nitro}", "vol-0123456789abcdef0"),
            (f"raid0\n{nitro}\n{other}", ""),
            (f"lvm\n{nitro}\ndisk", ""),
        ):
            (programs / "lsblk").write_text(f"#!/bin/sh\nprintf '{shown}\\n'\n")
            (programs / "lsblk").chmod(0o755)
            self.execution = str(uuid.uuid4())
            self.assertEqual(self.pre().said["dump"]["volume"], volume)
            self.post()

    def test_a_folder_that_its_own_file_names(self):
        config = self.own / "conf"
        config.write_text(f'# dumps\nDB_BACKUP_KEEP_DAYS=3\nDB_BACKUP_FOLDER="{self.dumps}"\n')
        folder = self.environment.pop("DB_BACKUP_FOLDER")
        self.program.write_text(STAND_IN.replace("set -e\n", f"set -e\nDB_BACKUP_FOLDER={folder}\n"))
        self.environment["DB_BACKUP_CONFIG"] = str(config)
        self.assertEqual(self.pre().said["dump"]["sha256"], "0a1b")
        self.post()

    def test_tables_without_transactions_make_it_crash_consistent_unless_they_were_locked(self):
        more, table = ',\n    {"name": "accounts", "tables": 1}', '"shop.log"'
        for tables, consistency, others, expected in (
            ("", "single-transaction", more, "application"),
            (table, "single-transaction", "", "crash"),
            (table, "lock-tables", "", "application"),
            (table, "lock-tables", more, "crash"),
            (table, "lock-all-tables", more, "application"),
        ):
            with self.subTest(tables=tables, consistency=consistency, others=others):
                self.environment.update(TABLES=tables, CONSISTENCY=consistency, MORE=others)
                self.execution = str(uuid.uuid4())
                reason = "tables without transactions may have changed while they were dumped"
                for command in ("pre-script", "pre-script", "post-script"):
                    answer = self.run_hook(command)
                    self.assertEqual((answer.code, answer.consistency), (0, expected), answer.err)
                    self.assertEqual(answer.reason, reason if expected == "crash" else "")
                    self.assertEqual(answer.said["dump"]["sha256"], "0a1b")

    def test_a_dump_that_fails_is_too_slow_or_is_not_complete(self):
        for words, more in (
            ("the dump failed", {"CODE": "1"}),
            ("does not tell of a complete dump", {"STATUS": "partial"}),
            ("did not end within 6 s", {"SLEEP": "60"}),
        ):
            environment = {**self.environment}
            self.environment.update(more)
            self.refused(201, words, execution=str(uuid.uuid4()), executionTimeout="10")
            self.environment = environment

    def test_a_dump_that_is_on_no_volume(self):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            self.environment["DB_BACKUP_FOLDER"] = memory
            self.refused(201, "is no volume")

    def test_without_a_program_that_dumps(self):
        self.environment["HOOK_DUMP_PROGRAM"] = "/nowhere/mariadb-backup.sh"
        self.refused(206, "/nowhere/mariadb-backup.sh", "/usr/local/sbin", command="dry-run")
