"""mariadb-backup.sh against a real server: what a dump brings back, what it says, and what it refuses."""

import gzip
import os
import pwd
import subprocess
import unittest
from pathlib import Path

from scripts import MARIADB, PASSWORD, ZSTD, ScriptTest, needs, wait_until
from server import LOCKING, PRIVILEGES, SHOP, Server

DATABASES = ("shop", "accounts", "nothing_in_it")


class MariaDbTest(ScriptTest):
    options = ("--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")

    @classmethod
    def setUpClass(cls):
        cls.source = Server(*cls.options)
        cls.addClassCleanup(cls.source.close)
        cls.source.sql(SHOP)
        cls.source.make_backup_user()

    def setUp(self):
        super().setUp()
        with self.option_file.open("a") as file:
            file.write(f"socket = {self.source.socket}\n")


def restore(dump, target):
    """As docs/databases.md says: expand, and give it to the client."""
    expand = ["zstd" if dump.suffix == ".zst" else "gzip", "--decompress", "--stdout", str(dump)]
    with subprocess.Popen(expand, stdout=subprocess.PIPE) as expanded:
        subprocess.run(target.client(), stdin=expanded.stdout, check=True, capture_output=True)
    assert expanded.returncode == 0


@needs(MARIADB)
class Dump(MariaDbTest):
    def test_it_brings_back_every_database_table_view_routine_trigger_and_event(self):
        self.dump()
        target = Server()
        self.addCleanup(target.close)
        restore(self.folder / self.dumps()[0], target)
        before = self.source.checksums(*DATABASES)
        # Six tables and a sequence's, one view, one routine, one trigger, one event.
        self.assertEqual(len(before), 9)
        self.assertEqual(target.checksums(*DATABASES), before)
        self.assertIn(["nothing_in_it"], target.sql("SHOW DATABASES"))
        self.assertEqual(target.sql("SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'backup'"), [["1"]])

    def test_the_manifest_says_what_it_is(self):
        self.dump()
        (dump,) = self.dumps()
        manifest, file = self.manifest(), self.folder / dump
        self.assertRegex(dump, r"^db-\d{4}-\d\d-\d\d\.sql\.gz$")
        subprocess.run(["sha256sum", "--check", "--status", f"{dump}.sha256"], cwd=self.folder, check=True)
        self.assertEqual((self.folder / f"{dump}.sha256").read_text(), f"{manifest['sha256']}  {dump}\n")
        expected = {
            "schema": 1,
            "status": "complete",
            "kind": "mariadb",
            "path": str(file),
            "bytes": file.stat().st_size,
            "uncompressedBytes": len(gzip.decompress(file.read_bytes())),
            "compression": "gzip",
            "consistency": "single-transaction",
            "nonTransactionalTables": [],
            "serverPort": 0,
            "lowerCaseTableNames": 0,
            "innodbPageSize": 16384,
            "serverVersion": self.source.sql("SELECT @@version")[0][0],
            "serverHost": os.uname().nodename,
        }
        self.assertEqual({name: manifest[name] for name in expected}, expected)
        self.assertLessEqual(manifest["begunAt"], manifest["endedAt"])
        binlog = self.source.sql("SHOW MASTER STATUS")[0][:2]
        self.assertEqual(manifest["binlog"], {"file": binlog[0], "position": int(binlog[1])})
        tables = {database["name"]: database["tables"] for database in manifest["databases"]}
        self.assertEqual({name: tables[name] for name in DATABASES}, {"shop": 4, "accounts": 1, "nothing_in_it": 0})
        self.assertEqual({oct(path.stat().st_mode)[-3:] for path in self.folder.iterdir()}, {"600"})

    def test_a_second_dump_of_the_day_takes_the_firsts_place(self):
        self.dump()
        first = self.manifest()
        self.source.sql("INSERT INTO accounts.people VALUES (8)")
        self.addCleanup(self.source.sql, "DELETE FROM accounts.people WHERE id = 8")
        self.dump()
        self.assertEqual(len(self.dumps()), 1)
        self.assertNotEqual(self.manifest()["sha256"], first["sha256"])

    @needs(ZSTD)
    def test_zstd_where_that_is_asked_for_and_one_file_per_day_all_the_same(self):
        self.dump()
        self.dump(DB_BACKUP_COMPRESSION="zstd")
        (dump,) = self.dumps()
        self.assertTrue(dump.endswith(".sql.zst"))
        self.assertEqual(sorted(self.contents()), sorted([dump, f"{dump}.json", f"{dump}.sha256"]))
        self.assertIn("restored with all of its", self.run_script("--verify")[1])

    def test_some_databases_only(self):
        self.dump(DB_BACKUP_DATABASES="accounts,nothing_in_it")
        self.assertEqual([database["name"] for database in self.manifest()["databases"]], ["accounts", "nothing_in_it"])

    def test_one_database_out_of_a_dump_as_the_documentation_has_it(self):
        page = (Path(__file__).resolve().parents[2] / "docs" / "databases.md").read_text()
        (command,) = [line for line in page.splitlines() if line.startswith("gzip -dc db-DATE.sql.gz | awk")]
        self.dump()
        target = Server()
        self.addCleanup(target.close)
        command = command.replace("db-DATE.sql.gz", str(self.folder / self.dumps()[0])).split(" > ")[0]
        part = subprocess.run(["bash", "-c", command], check=True, capture_output=True).stdout
        subprocess.run(target.client(), input=part, check=True, capture_output=True)
        self.assertEqual(target.checksums(*DATABASES), self.source.checksums("shop"))
        self.assertNotIn(["accounts"], target.sql("SHOW DATABASES"))

    def test_the_password_is_in_no_process_list_and_no_environment(self):
        process, gate = self.start_held()
        seen = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            except OSError:
                continue
            seen.append(words[0])
            self.assertNotIn(PASSWORD.encode(), b"".join(words))
        self.assertTrue(any(b"--single-transaction" in words for words in seen))
        gate.unlink()
        self.assertEqual(process.communicate(), ("", ""))


@needs(MARIADB)
class NonTransactional(MariaDbTest):
    """Tables without transactions: named until somebody has decided."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source.sql(
            "CREATE TABLE shop.old (a INT) ENGINE = MyISAM; CREATE TABLE accounts.older (a INT) ENGINE = Aria"
        )
        cls.source.make_backup_user(PRIVILEGES + LOCKING)

    def test_they_are_named_until_somebody_decides(self):
        code, out, err = self.run_script()
        self.assertEqual((code, out), (0, ""))
        self.assertIn("accounts.older, shop.old\n", err)
        self.assertIn("DB_BACKUP_LOCK_TABLES=yes", err)
        self.assertEqual(self.manifest()["nonTransactionalTables"], ["accounts.older", "shop.old"])

    def test_no_is_a_decision_and_so_is_yes(self):
        self.dump(DB_BACKUP_LOCK_TABLES="no")
        self.assertEqual(self.manifest()["consistency"], "single-transaction")
        self.assertEqual(self.manifest()["nonTransactionalTables"], ["accounts.older", "shop.old"])
        self.dump(DB_BACKUP_LOCK_TABLES="yes")
        self.assertEqual(self.manifest()["consistency"], "lock-all-tables")

    def test_only_those_that_are_dumped(self):
        self.dump(DB_BACKUP_DATABASES="nothing_in_it")
        self.assertEqual(self.manifest()["nonTransactionalTables"], [])

    def test_writers_wait_where_tables_are_locked_and_only_there(self):
        for decision, blocked in (("yes", True), ("no", False)):
            with self.subTest(decision):
                self.source.sql(
                    "CREATE OR REPLACE TABLE shop.filler AS SELECT seq, RANDOM_BYTES(500) FROM seq_1_to_4000", "shop"
                )
                process, gate = self.start_held(DB_BACKUP_LOCK_TABLES=decision, DB_BACKUP_DATABASES="shop")
                writer = subprocess.Popen(self.source.client("--execute=INSERT INTO shop.old VALUES (1)"))
                if blocked:
                    wait_until(self.a_writer_waits, "the writer waits")
                else:
                    self.assertEqual(writer.wait(20), 0)
                gate.unlink()
                self.assertEqual(process.communicate()[1], "")
                self.assertEqual(writer.wait(20), 0)

    def a_writer_waits(self):
        return self.source.sql(
            "SELECT 1 FROM information_schema.processlist"
            " WHERE info LIKE 'INSERT INTO shop.old%' AND state LIKE 'Waiting%lock'"
        )


@needs(MARIADB)
class Privileges(MariaDbTest):
    def test_what_the_user_may_not_see_is_no_silent_gap(self):
        self.addCleanup(self.source.make_backup_user)
        for privileges, words in (
            ("SELECT, SHOW VIEW, EVENT", "lacks the privilege TRIGGER on: accounts"),
            ("USAGE", "the user does not see all databases (only: none)"),
            ("SELECT, SHOW VIEW, TRIGGER", "the user lacks a privilege"),
            ("SELECT, TRIGGER, EVENT", "the user lacks a privilege"),
        ):
            with self.subTest(privileges):
                self.source.make_backup_user(privileges)
                self.fails(words)

    def test_locking_needs_more(self):
        self.fails("the user lacks a privilege", DB_BACKUP_LOCK_TABLES="yes")

    def test_a_database_that_there_is_not(self):
        self.fails(
            'the user sees no database "shops" to dump',
            "some of: accounts mysql nothing_in_it shop",
            DB_BACKUP_DATABASES="shop shops",
        )
        self.fails("DB_BACKUP_DATABASES names no database", DB_BACKUP_DATABASES=" , ")


@needs(MARIADB)
class Verify(MariaDbTest):
    def test_the_newest_dump_comes_back_whole_and_nothing_is_left(self):
        self.dump()
        code, out, err = self.run_script("--verify")
        self.assertEqual((code, err), (0, ""))
        self.assertIn(str(self.folder / self.dumps()[0]), out)
        # 5 orders, 2 in the table with the weird name, one person.
        self.assertRegex(out, r"with all of its \d+ tables and 8 rows")
        self.assertEqual(self.servers(), [])

    def test_a_stop_by_signal_takes_the_scratch_server_along(self):
        self.dump()
        # While its data folder is made, and when it runs: the first is a script that has a server as its child.
        for sign in ("data/mysql/proc.frm", "socket"):
            with self.subTest(sign):
                process = self.start("--verify")
                self.wait_for(f"{self.kind}-verify.*/{sign}", process)
                self.assertEqual(len(self.servers()), 1)
                self.assertIsNone(process.poll())
                process.terminate()
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 143)
                self.assertIn("stopped by SIGTERM", err)
                self.assertEqual(self.servers(), [])
                self.assertEqual([*self.temporary.iterdir()], [])

    def wait_for(self, path, process):
        wait_until(lambda: [*self.temporary.glob(path)] or process.poll() is not None, f"there is {path}")

    def test_a_changed_or_cut_dump_is_not_taken_for_good(self):
        self.fails("there is no dump in", arguments=["--verify"])
        self.dump()
        dump = self.folder / self.dumps()[0]
        good = dump.read_bytes()
        dump.write_bytes(good[:-1000])
        self.fails(
            f"{dump} is not good: it has {len(good) - 1000} bytes, and its manifest says {len(good)}",
            arguments=["--verify"],
        )
        self.assertIn(f"its manifest says {len(good)}", self.run_script("--list")[1])
        dump.write_bytes(good[:-1000] + bytes(1000))
        self.fails(f"{dump} is not what was written: its SHA-256 is", arguments=["--verify"])

    def test_where_there_is_no_room(self):
        self.dump()
        self.fails(
            "DB_BACKUP_SCRATCH_FOLDER: /nowhere is no folder",
            arguments=["--verify"],
            status=2,
            DB_BACKUP_SCRATCH_FOLDER="/nowhere",
        )

    def servers(self):
        """The command lines of servers below this test's folder."""
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = file.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"mariadbd") and any(str(self.temporary).encode() in word for word in words):
                found.append(words)
        return found


@needs(MARIADB)
class Rights(MariaDbTest):
    @unittest.skipIf(os.geteuid() != 0, "only root can run it as somebody else")
    def test_it_needs_no_root(self):
        nobody = pwd.getpwnam("nobody")
        for path in (self.folder, self.option_file, self.home, self.temporary, self.base / "conf"):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            **self.settings,
        }
        script = Path(self.made("copy", 0o755))
        subprocess.run(["cp", "-r", str(Path(__file__).resolve().parents[2] / "databases"), str(script)], check=True)
        subprocess.run(["chmod", "-R", "a+rX", str(script)], check=True)
        for action in ([], ["--verify"]):
            done = subprocess.run(
                [str(script / "databases" / "mariadb-backup.sh"), *action],
                env=environment,
                user="nobody",
                group=nobody.pw_gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                text=True,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))
