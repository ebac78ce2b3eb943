"""Which dumps stay and which go, over many days; the clock; the folder; settings. The server is the stand-in."""

import json
import os
import unittest

from scripts import FAKETIME, needs
from test_mysql import MySqlTest


def at(day, hour=2):
    return f"2026-11-{day:02} {hour:02}:00:00"


def name(day):
    return f"db-2026-11-{day:02}.sql.gz"


@needs(FAKETIME)
class Days(MySqlTest):
    def dump_on(self, *days, **settings):
        """The last one by the script, and those before it by hand, as it leaves them."""
        *earlier, last = days
        self.have(*earlier)
        self.dump(at=at(last), **settings)

    def have(self, *days):
        for day in days:
            made = b"the dump of that day"
            (self.folder / name(day)).write_bytes(made)
            manifest = {
                "schema": 1,
                "status": "complete",
                "kind": "mysql",
                "bytes": len(made),
                "endedAt": f"2026-11-{day:02}T02:00:01Z",
            }
            (self.folder / f"{name(day)}.json").write_text(json.dumps(manifest, indent=2))
            (self.folder / f"{name(day)}.sha256").write_text("its hash")

    def test_one_file_per_day_and_five_days_are_kept(self):
        self.dump_on(*range(10, 18))
        self.assertEqual(self.dumps(), [name(day) for day in range(12, 18)])
        self.assertEqual(len(self.contents()), 3 * 6)

    def test_the_days_kept_are_a_setting(self):
        self.dump_on(*range(10, 15), DB_BACKUP_KEEP_DAYS="2")
        self.assertEqual(self.dumps(), [name(12), name(13), name(14)])

    def test_nothing_goes_when_the_new_dump_is_not_good(self):
        self.dump_on(*range(10, 16))
        self.server(cut=True)
        self.fails("was cut", at=at(17))

    def test_missed_nights_and_a_clock_that_is_ahead_do_not_empty_the_folder(self):
        self.dump_on(*range(10, 16), 29)
        self.assertEqual(self.dumps(), [name(day) for day in (12, 13, 14, 15, 29)])

    def test_a_dump_that_is_not_good_does_not_count_as_one(self):
        self.dump_on(*range(10, 16))
        for day in (13, 14):
            with (self.folder / name(day)).open("ab") as file:
                file.write(b"more")
        self.dump_on(16)
        self.assertEqual(self.dumps(), [name(day) for day in range(10, 17)])

    def test_only_what_is_ours_by_name_goes(self):
        others = (
            "db-.sql.gz",
            "db-2026-10-01.sql",
            "db-2026-13-01.sql.gz",
            "shop-2026-10-01.sql.gz",
            "db-2026-10-01.sql.gz.old",
            "notes",
            ".hidden",
        )
        for other in others:
            (self.folder / other).write_bytes(b"not ours")
        (self.folder / "db-2026-10-02.sql.gz").symlink_to(self.folder / "notes")
        (self.folder / "db-2026-10-03.sql.gz").mkdir()
        self.dump_on(*range(10, 18))
        self.assertEqual(
            self.dumps(),
            sorted(
                [
                    "db-.sql.gz",
                    "db-2026-13-01.sql.gz",
                    "shop-2026-10-01.sql.gz",
                    "db-2026-10-02.sql.gz",
                    "db-2026-10-03.sql.gz",
                    *(name(day) for day in range(12, 18)),
                ]
            ),
        )
        for other in others:
            self.assertTrue((self.folder / other).exists())

    def test_dumps_of_the_earlier_script_go_when_new_ones_have_taken_their_place(self):
        for day in range(5, 10):
            (self.folder / name(day)).write_bytes(b"made by the earlier script")
        self.dump_on(10, 11, 12, 13)
        self.assertEqual(self.dumps(), [name(day) for day in range(5, 14)])
        self.dump_on(14, 15)
        self.assertEqual(self.dumps(), [name(day) for day in range(10, 16)])

    def test_a_clock_that_was_set_back_removes_and_replaces_nothing(self):
        self.dump_on(*range(10, 16))
        words = (
            "the clock says 2026-11-12 02:00:00",
            f"{self.folder}/{name(15)} is from later (2026-11-15T02:00:0",
            "set it right",
        )
        self.fails(*words, f"{name(12)} exists and nothing is replaced", at=at(12))

    def test_with_a_clock_that_was_set_back_a_day_without_a_dump_gets_one_and_keeps_all_others(self):
        self.have(*range(1, 11), 25)
        before = self.contents()
        code, _, err = self.run_script(at=at(18))
        self.assertEqual(code, 1)
        self.assertIn(f"{name(18)} was made, and no older dump was removed", err)
        after = self.contents()
        self.assertEqual({file: after[file] for file in before}, before)
        self.assertEqual(sorted(set(after) - set(before)), [name(18), f"{name(18)}.json", f"{name(18)}.sha256"])

    def test_a_clock_that_was_set_back_within_the_day(self):
        self.dump(at=at(10, 14))
        self.fails("the clock says 2026-11-10 12:00:00", "nothing is replaced", at=at(10, 12))
        self.dump(at=at(10, 15))

    def test_the_list_says_what_each_dump_is(self):
        self.assertEqual(self.run_script("--list"), (0, "", f"mysql-backup.sh: no dumps in {self.folder}\n"))
        (self.folder / name(9)).write_bytes(b"made by the earlier script")
        self.dump_on(10, 11)
        with (self.folder / name(10)).open("ab") as file:
            file.write(b"more")
        code, out, _ = self.run_script("--list")
        self.assertEqual(code, 0)
        lines = out.splitlines()
        self.assertRegex(lines[0], f"^{name(11)} +[0-9]+  2026-11-11T02:00:0[0-9]Z  good$")
        self.assertRegex(lines[1], f"^{name(10)} .* and its manifest says ")
        self.assertRegex(lines[2], f"^{name(9)} +26  - +no manifest: ")


class Folder(MySqlTest):
    def refused(self, *words, **settings):
        self.fails(*words, status=2, **settings)

    def test_a_folder_that_is_not_there_is_not_made(self):
        self.refused("/nowhere/dumps is no folder", "install -d -m 0700", DB_BACKUP_FOLDER="/nowhere/dumps")
        self.refused('DB_BACKUP_FOLDER is "dumps"; allowed: a path that begins with /', DB_BACKUP_FOLDER="dumps")

    def test_a_folder_that_others_can_write(self):
        self.folder.chmod(0o770)
        self.refused(f"others can write {self.folder} (mode 770)")

    @unittest.skipIf(os.geteuid() != 0, "only root can give a folder away")
    def test_a_folder_of_somebody_else(self):
        os.chown(self.folder, 65534, 65534)
        self.refused(f"{self.folder} belongs to user 65534, and this runs as user 0")

    def test_a_folder_with_dumps_of_mariadb(self):
        self.dump()
        manifest = self.folder / f"{self.dumps()[0]}.json"
        manifest.write_text(manifest.read_text().replace('"kind": "mysql"', '"kind": "mariadb"'))
        self.refused("has dumps of kind mariadb", "allowed: a folder for mysql alone")

    def test_a_link_to_a_folder_is_followed(self):
        link = self.base / "link"
        link.symlink_to(self.folder)
        self.dump(DB_BACKUP_FOLDER=str(link))
        self.assertEqual(self.manifest()["path"], str(self.folder / self.dumps()[0]))


class Settings(MySqlTest):
    def refused(self, *words, **options):
        self.fails(*words, status=2, **options)

    def config(self, text, mode=0o600):
        self.settings["DB_BACKUP_CONFIG"] = str(self.written("conf", text, mode))

    def test_the_file_and_before_it_the_environment(self):
        other = self.made("other", 0o700)
        del self.settings["DB_BACKUP_FOLDER"]
        self.config("# where they are\n\n  DB_BACKUP_FOLDER = \n")
        self.refused("line 3: not NAME=value")
        self.config(f"# where they are\n\nDB_BACKUP_FOLDER=\"{other}\"\nDB_BACKUP_DATABASES='shop accounts'  \n")
        self.dump(DB_BACKUP_DATABASES="shop")
        self.assertEqual(len(list(other.glob("*.gz"))), 1)
        self.assertEqual(self.dump_arguments()[-2:], ["--databases", "shop"])
        self.dump()
        self.assertEqual(self.dump_arguments()[-2:], ["shop", "accounts"])
        self.settings.pop("DB_BACKUP_CONFIG")
        file = self.written("third", f"DB_BACKUP_FOLDER={other}\n", 0o600)
        self.assertEqual(self.run_script("--config", str(file)), (0, "", ""))

    def test_a_value_is_never_said(self):
        for line, shown in (
            ("DB_BACKUP_PASSWORD=s3cret", "line 1: DB_BACKUP_PASSWORD is no setting"),
            ("pass-word = s3cret", "line 1: not NAME=value (pass-word)"),
            ("password s3cret", "line 1: not NAME=value\n"),
            ("s3cret==", "line 1: this is no setting"),
            ("x" * 50 + "=s3cret", "line 1: " + "x" * 40 + " is no setting"),
        ):
            self.config(line + "\n")
            self.refused(shown)
            self.assertNotIn("s3cret", self.run_script()[2])

    def test_the_file_is_no_program(self):
        self.config(f"DB_BACKUP_USER=$(touch {self.base}/run)`touch {self.base}/run`\n")
        self.dump()
        self.assertFalse((self.base / "run").exists())
        self.assertEqual(self.dump_arguments()[0], f"--user=$(touch {self.base}/run)`touch {self.base}/run`")

    def test_what_is_no_setting_is_said(self):
        self.config("DB_BACKUP_FOLDR=/x\n")
        self.refused(f"{self.base}/conf, line 1: DB_BACKUP_FOLDR is no setting; allowed: DB_BACKUP_USER")
        self.config("")
        self.refused("DB_BACKUP_KEEP in the environment is no setting", DB_BACKUP_KEEP="3")
        self.refused("--force: unknown option; allowed: --verify", arguments=["--force"])
        self.refused("--config: no file is named", arguments=["--config"])
        self.refused("/nowhere is no file that can be read", arguments=["--config", "/nowhere"])

    def test_values_that_are_not_allowed(self):
        for setting, values, allowed in (
            ("DB_BACKUP_KEEP_DAYS", ("0", "-1", "7d", "36501", "99999", "1.5", "08"), "whole days, 1 to 36500"),
            ("DB_BACKUP_COMPRESSION", ("bzip2", "GZIP"), "gzip, zstd"),
            ("DB_BACKUP_LOCK_TABLES", ("maybe", "true"), "yes, no"),
            ("DB_BACKUP_BINLOG_POSITION", ("yes",), "auto, no"),
            ("DB_BACKUP_SCRATCH_FOLDER", ("tmp",), "a path that begins with /"),
        ):
            for value in values:
                with self.subTest(setting, value=value):
                    self.refused(f'{setting} is "{value}"; allowed: {allowed}', **{setting: value})
            self.refused(f"{setting} is empty", **{setting: ""})

    def test_files_that_others_can_read_or_write(self):
        for mode, right in ((0o644, False), (0o640, False), (0o604, False), (0o400, True), (0o600, True)):
            with self.subTest(oct(mode)):
                self.option_file.chmod(mode)
                if right:
                    self.dump()
                else:
                    self.refused(
                        f"option file: {self.option_file} has mode {mode:o}, and holds a password; allowed: 600"
                    )
        self.refused("option file: /nowhere is no file that can be read", DB_BACKUP_OPTION_FILE="/nowhere")
        self.config("", 0o666)
        self.refused("configuration file: others than its owner can write")

    @unittest.skipIf(os.geteuid() != 0, "only root can give a file away")
    def test_files_of_somebody_else(self):
        os.chown(self.option_file, 65534, 65534)
        self.refused(f"option file: {self.option_file} belongs to user 65534")

    def test_a_password_in_the_environment_is_refused(self):
        self.refused("MYSQL_PWD is set", MYSQL_PWD="secret")

    def test_help_needs_nothing_and_says_what_is_needed(self):
        code, out, err = self.run_script("--help", DB_BACKUP_FOLDER="/nowhere")
        self.assertEqual((code, err), (0, ""))
        for word in ("DB_BACKUP_KEEP_DAYS", "--verify", "bash 4.4", "Exit status"):
            self.assertIn(word, out)
        self.assertTrue(all(len(line) <= 120 for line in out.splitlines()))
