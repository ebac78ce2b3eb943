"""What goes wrong in mid-dump, with a real server: earlier dumps stay, nothing half-made does, and it is said."""

import os
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

from scripts import MARIADB, SCRIPTS, ScriptTest, needs, wait_until
from server import Server

# More than the pipes, the client's buffer and the compressor's first 64 KiB hold.
FILLER = "CREATE OR REPLACE TABLE filler AS SELECT seq, RANDOM_BYTES(500) AS bytes FROM seq_1_to_{}"


class FaultTest(ScriptTest):
    @classmethod
    def setUpClass(cls):
        cls.source = Server()
        cls.addClassCleanup(cls.source.close)
        cls.source.sql("CREATE DATABASE shop")
        cls.source.make_backup_user()

    def setUp(self):
        super().setUp()
        with self.option_file.open("a") as file:
            file.write(f"socket = {self.source.socket}\n")
        self.settings["DB_BACKUP_DATABASES"] = "shop"


@needs(MARIADB)
class Faults(FaultTest):
    def setUp(self):
        super().setUp()
        self.source.sql(FILLER.format(8000), "shop")
        self.dump()
        self.before = self.contents()

    def ends(self, process, status, *words):
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, status, err)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(self.contents(), self.before)

    def test_the_server_is_killed(self):
        process, gate = self.start_held()
        self.source.kill()
        self.addCleanup(self.source.start)
        gate.unlink()
        self.ends(
            process,
            1,
            "the dump failed (mariadb-dump ended with status 3)",
            "it is down, went away",
            "Lost connection to server",
            "earlier dumps are untouched",
        )

    def test_the_server_is_down(self):
        self.source.kill()
        self.addCleanup(self.source.start)
        self.fails("the MariaDB server does not answer", "it is down", str(self.source.socket))

    def test_the_password_is_wrong(self):
        self.option_file.write_text(f"[client]\npassword=wrong\nsocket={self.source.socket}\n")
        self.fails("refuses this user or this password", str(self.option_file), "ERROR 1045")

    def test_no_terminal_is_asked_for_a_password(self):
        self.option_file.write_text(f"[client]\npassword\nsocket={self.source.socket}\n")
        script = SCRIPTS / "mariadb-backup.sh"
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        done = subprocess.run(
            [
                "env",
                *settings,
                f"TMPDIR={self.temporary}",
                "script",
                "--quiet",
                "--return",
                f"--command={script}",
                "/dev/null",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("refuses this user or this password", done.stdout)

    def test_the_option_file_goes_before_that_of_the_home_folder(self):
        own = self.home / ".my.cnf"
        own.write_text("[client]\npassword=wrong\n")
        own.chmod(0o600)
        self.dump()

    def test_a_second_one_while_the_first_is_at_work(self):
        first, gate = self.start_held()
        (self.programs / "gzip").unlink()
        half = [file for file in self.folder.iterdir() if file.name.endswith(".partial")]
        self.assertEqual(len(half), 1)
        code, _, err = self.run_script()
        self.assertEqual(code, 1)
        self.assertIn(f"another run is at work in {self.folder} (process {first.pid}, begun 2", err)
        self.assertTrue(half[0].exists(), "the second run removed what the first one writes")
        gate.unlink()
        self.assertEqual(first.communicate(), ("", ""))
        self.assertEqual(first.returncode, 0)

    def test_a_stop_by_each_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number.name):
                process, _ = self.start_held()
                children = self.children(process.pid)
                process.send_signal(number)
                self.ends(process, 128 + number, f"stopped by {number.name}", "earlier dumps are untouched")
                for child in children:
                    wait_until(lambda pid=child: not Path(f"/proc/{pid}").exists(), f"process {child} is gone")

    def children(self, parent):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if above == parent:
                found += [int(folder.name), *self.children(int(folder.name))]
        return found

    def test_what_a_killed_run_left_is_removed_by_the_next(self):
        process, gate = self.start_held()
        left = self.children(process.pid)
        process.kill()
        process.wait()
        # What it started works on, and holds the lock until it ends.
        code, _, err = self.run_script()
        self.assertEqual(code, 1)
        self.assertIn("another run is at work", err)
        self.assertTrue([file for file in self.folder.iterdir() if file.name.endswith(".partial")])
        gate.unlink()
        for child in left:
            wait_until(lambda pid=child: not Path(f"/proc/{pid}").exists(), f"process {child} is gone")
        for folder in self.temporary.iterdir():
            shutil.rmtree(folder)
        # Before it looks at the free space, also those of another day.
        (self.folder / ".db-2026-01-01.sql.gz.partial").touch()
        process, gate = self.start_held()
        self.assertEqual(len([file for file in self.folder.iterdir() if file.name.endswith(".partial")]), 1)
        gate.unlink()
        self.assertEqual(process.communicate(), ("", ""))
        self.assertEqual([file.name for file in self.folder.iterdir() if file.name.endswith(".partial")], [])

    def test_a_table_that_is_altered_meanwhile(self):
        self.source.sql("CREATE OR REPLACE TABLE zebra AS SELECT seq FROM seq_1_to_10", "shop")
        self.addCleanup(self.source.sql, "DROP TABLE zebra", "shop")
        process, gate = self.start_held()
        self.source.sql("ALTER TABLE zebra ADD COLUMN stripes INT, ALGORITHM = COPY", "shop")
        gate.unlink()
        self.ends(process, 1, "a table was altered meanwhile")

    def test_a_table_that_is_dropped_meanwhile_is_not_missing(self):
        self.source.sql("CREATE TABLE zebra AS SELECT seq FROM seq_1_to_10", "shop")
        real = shutil.which("mariadb-dump")
        self.program(
            "mariadb-dump",
            f"""#!/bin/sh
case "$*" in *--quick*)
    mariadb --no-defaults --socket={self.source.socket} --user=root shop -e 'DROP TABLE IF EXISTS zebra' ;;
esac
exec {real} "$@"
""",
        )
        self.dump()

    def test_a_table_that_the_dump_leaves_out_is_missing(self):
        self.source.sql("CREATE TABLE zebra AS SELECT seq FROM seq_1_to_10", "shop")
        self.addCleanup(self.source.sql, "DROP TABLE zebra", "shop")
        real = shutil.which("mariadb-dump")
        self.program(
            "mariadb-dump",
            f"""#!/bin/sh
case "$*" in *--quick*) exec {real} "$@" --ignore-table=shop.zebra ;; esac
exec {real} "$@"
""",
        )
        self.before = self.contents()
        self.fails("tables are missing: shop.zebra")


@needs(MARIADB)
@unittest.skipIf(os.geteuid() != 0, "only root can mount a small file system")
class FullDisk(FaultTest):
    def setUp(self):
        super().setUp()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(self.folder)],
            capture_output=True,
            text=True,
        )
        if mounted.returncode:
            self.skipTest(f"no file system can be mounted here: {mounted.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", str(self.folder)], check=True)

    def test_the_disk_gets_full(self):
        self.source.sql(FILLER.format(100), "shop")
        self.dump()
        self.source.sql(FILLER.format(20000), "shop")
        self.fails(
            "the dump could not be written to",
            str(self.folder),
            "No space left on device",
            "earlier dumps are untouched",
        )

    def test_the_disk_is_looked_at_first(self):
        self.source.sql(FILLER.format(4000), "shop")
        self.dump()
        block, free = os.statvfs(self.folder).f_bsize, os.statvfs(self.folder).f_bavail
        (self.folder / "other").write_bytes(bytes((free - 2) * block))
        self.fails(
            f"{self.folder} has {2 * block} bytes free",
            f"needed: {self.manifest()['bytes']}, as much as {self.dumps()[0]}",
        )
