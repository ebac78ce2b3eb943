"""mysql-backup.sh, with a stand-in for MySQL's programs: what it asks of which version, and what it takes for good."""

import gzip
import hashlib
import json
import shutil
import sys
from pathlib import Path

from scripts import MARIADB, PASSWORD, ScriptTest, needs
from server import empty_data, server_user

# Asked twice in every run: a shell answers faster. The rest is a module, so that it is compiled once.
STAND_IN = f"""#!/bin/sh
name=$(basename "$0")
if [ "$*" = --version ]; then
    echo "$name  Ver $(cat "$MYSQL_STAND_IN.version") for Linux on x86_64 (MySQL Community Server - GPL)"
    exit
fi
exec {sys.executable} -IS -c '
import sys
sys.path.insert(0, "{Path(__file__).parent}")
import mysql_stand_in
mysql_stand_in.main()' "$name" "$@"
"""


class MySqlTest(ScriptTest):
    kind = "mysql"

    def setUp(self):
        super().setUp()
        for name in ("mysql", "mysqldump"):
            self.program(name, STAND_IN)
        self.server()

    def server(self, version="8.0.36", client=None, **more):
        tables = {"shop": {"orders": ["'one'", "NULL"], "empty": []}, "accounts": {"people": ["''"]}}
        file = self.base / "server.json"
        file.write_text(json.dumps({"version": version, "client": client or version, "tables": tables, **more}))
        file.with_name("server.json.version").write_text(client or version)
        self.settings["MYSQL_STAND_IN"] = str(file)

    def calls(self, program):
        lines = (self.base / "server.calls").read_text().splitlines()
        return [call[1:] for call in map(json.loads, lines) if call[0] == program]

    def dump_arguments(self):
        call = [call for call in self.calls("mysqldump") if "--no-defaults" not in call][-1]
        return [argument for argument in call if not argument.startswith("--defaults-extra-file=")]


class Options(MySqlTest):
    ALWAYS = [
        "--user=backup",
        "--quick",
        "--routines",
        "--events",
        "--triggers",
        "--no-tablespaces",
        "--max-allowed-packet=1G",
        "--default-character-set=utf8mb4",
    ]

    def assert_dumped_with(self, *arguments, **settings):
        self.dump(**settings)
        self.assertEqual(self.dump_arguments(), [*self.ALWAYS, *arguments])

    def test_each_version_is_asked_in_its_own_words(self):
        purged = "--set-gtid-purged=COMMENTED"
        for version, position in (
            ("5.7.44", ["--master-data=2", "--set-gtid-purged=OFF"]),
            ("8.0.16", ["--master-data=2", "--set-gtid-purged=OFF"]),
            ("8.0.25", ["--master-data=2", purged]),
            ("8.0.26", ["--source-data=2", purged]),
            ("8.4.3", ["--source-data=2", purged]),
        ):
            with self.subTest(version):
                self.server(version)
                self.assert_dumped_with("--single-transaction", *position, "--all-databases")
                self.assertEqual(self.manifest()["binlog"], {"file": "binlog.000003", "position": 157})
                self.assertEqual(self.manifest()["serverVersion"], version)

    def test_a_new_client_does_not_ask_an_old_server_for_histograms(self):
        self.server("5.7.44", client="8.0.36")
        self.assert_dumped_with(
            "--single-transaction",
            "--source-data=2",
            "--set-gtid-purged=COMMENTED",
            "--column-statistics=0",
            "--all-databases",
        )

    def test_without_a_binary_log_there_is_no_position(self):
        self.server(log_bin="OFF")
        self.assert_dumped_with("--single-transaction", "--set-gtid-purged=COMMENTED", "--all-databases")
        self.assertIsNone(self.manifest()["binlog"])

    def test_the_position_can_be_left_out(self):
        self.assert_dumped_with(
            "--single-transaction", "--set-gtid-purged=COMMENTED", "--all-databases", DB_BACKUP_BINLOG_POSITION="no"
        )

    def test_tables_are_locked_where_that_is_asked_for(self):
        self.assert_dumped_with(
            "--lock-tables",
            "--source-data=2",
            "--set-gtid-purged=COMMENTED",
            "--all-databases",
            DB_BACKUP_LOCK_TABLES="yes",
        )
        self.assertEqual(self.manifest()["consistency"], "lock-all-tables")
        self.server(log_bin="OFF")
        self.assert_dumped_with(
            "--lock-tables", "--set-gtid-purged=COMMENTED", "--all-databases", DB_BACKUP_LOCK_TABLES="yes"
        )
        self.assertEqual(self.manifest()["consistency"], "lock-tables")

    def test_some_databases_are_named(self):
        self.assert_dumped_with(
            "--single-transaction",
            "--source-data=2",
            "--set-gtid-purged=COMMENTED",
            "--databases",
            "shop",
            "accounts",
            DB_BACKUP_DATABASES="shop, accounts",
        )
        self.assertEqual([database["name"] for database in self.manifest()["databases"]], ["shop", "accounts"])

    def test_the_option_file_comes_first_and_the_password_nowhere(self):
        self.dump()
        for call in self.calls("mysql") + self.calls("mysqldump"):
            if call != ["--no-defaults", "--help"]:
                self.assertEqual(call[0], f"--defaults-extra-file={self.option_file}")
            self.assertNotIn(PASSWORD, " ".join(call))

    def test_the_user_is_the_setting_else_the_option_files_else_backup(self):
        self.option_file.write_text("[client]\nuser = dumper\n")
        self.dump()
        self.assertNotIn("--user", " ".join(self.dump_arguments()))
        self.dump(DB_BACKUP_USER="other")
        self.assertEqual(self.dump_arguments()[0], "--user=other")

    def test_without_an_option_file_that_of_the_home_folder_is_held_to_the_same(self):
        own = self.home / ".my.cnf"
        own.write_text("[client]\n")
        own.chmod(0o640)
        self.fails(f"option file: {own} has mode 640", status=2, DB_BACKUP_OPTION_FILE=None)
        own.chmod(0o600)
        self.dump(DB_BACKUP_OPTION_FILE=None)
        self.assertEqual(self.calls("mysqldump")[-1][0], f"--defaults-extra-file={own}")


class Answers(MySqlTest):
    def test_a_mariadb_server_is_refused_and_so_are_mariadbs_programs(self):
        self.server("10.11.6", comment="MariaDB Server")
        self.fails("the server is MariaDB", "allowed: MySQL")
        self.program("mysqldump", "#!/bin/sh\necho 'mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB'\n")
        self.fails("mysqldump is MariaDB's; allowed: MySQL's client programs", status=2)

    def test_what_a_dump_lacks_is_said_and_the_dump_is_not_kept(self):
        self.dump()
        for fault, words in (
            ({"cut": True}, 'its last line is not "-- Dump completed"'),
            ({"left_out": "shop"}, "databases are missing: shop"),
            ({"left_out": "people"}, "tables are missing: accounts.people"),
            ({"dies": True}, "Error 2013: Lost connection"),
        ):
            with self.subTest(words):
                self.server(**fault)
                self.fails(words, "earlier dumps are untouched")

    def test_a_dump_of_nothing_is_not_kept(self):
        for output, words in (
            ("true", "was cut"),
            ("echo '-- Dump completed on 2026-11-22'", "does not begin as a dump"),
            ("printf '%s\\n' '-- MySQL dump 10.13' '-- Dump completed'", "less than a dump of nothing"),
        ):
            with self.subTest(output):
                real = self.programs / "mysqldump"
                shutil.copy(real, self.programs / "mysqldump-real")
                self.program(
                    "mysqldump",
                    f'#!/bin/sh\ncase "$*" in *--help*|*--version*) exec "{real}-real" "$@" ;; esac\n{output}\n',
                )
                self.fails("the dump is not good", words)
                (self.programs / "mysqldump-real").replace(real)

    def test_a_compressor_that_fails_or_writes_rubbish_is_noticed(self):
        gzip_program = shutil.which("gzip")
        self.program("gzip", f'#!/bin/sh\ncase "$*" in *--decompress*) exec {gzip_program} "$@" ;; esac\ncat; exit 0\n')
        self.fails("gzip cannot expand it")
        self.program("gzip", "#!/bin/sh\necho 'gzip: broken' >&2; exit 1\n")
        self.fails("gzip ended with status 1. It says: gzip: broken")

    def test_warnings_of_the_dump_program_are_passed_on(self):
        real = self.programs / "mysqldump"
        real.rename(f"{real}-real")
        self.program(
            "mysqldump",
            f'#!/bin/sh\ncase "$*" in *--quick*) echo "Warning: mind this" >&2 ;; esac\nexec "{real}-real" "$@"\n',
        )
        self.assertEqual(self.run_script(), (0, "", "mysql-backup.sh: Warning: mind this\n"))


@needs(MARIADB)
class Verify(MySqlTest):
    """The server into which the dump is restored is MariaDB's, started in MySQL's words."""

    def setUp(self):
        super().setUp()
        self.program(
            "mysqld",
            f"""#!/bin/sh
echo "$@" >> {self.base}/mysqld.calls
case "$*" in *--initialize-insecure*)
    for argument; do case "$argument" in --datadir=*) folder=${{argument#*=}} ;; esac; done
    cp -R {empty_data()} "$folder" && {f'chown -R {server_user()} "$folder"' if server_user() else "true"}
    exit ;;
esac
exec /usr/sbin/mariadbd "$@"
""",
        )

    def test_rows_are_counted_in_mysqls_way_of_writing_them(self):
        notes = ["'a'", r"'it\'s),('", r"'\\'", "'),('", r"'\\\'),(\''", "NULL", "''", "'one''s'"]
        self.server(tables={"shop": {"orders": notes, "empty": []}, "VALUES (": {"VALUES (": ["'x'"]}})
        self.dump(DB_BACKUP_DATABASES="shop")
        code, out, err = self.run_script("--verify")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("with all of its 2 tables and 8 rows", out)
        made, started = (self.base / "mysqld.calls").read_text().splitlines()
        self.assertIn("--no-defaults --initialize-insecure --datadir=", made)
        for option in (
            "--no-defaults",
            "--skip-networking",
            "--skip-log-bin",
            "--loose-mysqlx=OFF",
            "--event-scheduler=OFF",
        ):
            self.assertIn(f"{option} ", f"{started} ")

    def test_a_row_that_was_not_restored_is_found(self):
        self.dump()
        dump = self.folder / self.dumps()[-1]
        text = gzip.decompress(dump.read_bytes()).decode()
        twice = text.replace(
            "INSERT INTO `people` VALUES (1,'');", "INSERT INTO `people` VALUES (1,'');\nDELETE FROM `people`;"
        )
        self.assertNotEqual(twice, text)
        self.replace(dump, twice)
        self.fails("accounts.people: 1 rows in the dump, and 0 restored", "1 tables differ", arguments=["--verify"])

    def test_a_table_that_was_not_restored_is_found(self):
        self.dump()
        dump = self.folder / self.dumps()[-1]
        text = gzip.decompress(dump.read_bytes()).decode()
        self.replace(dump, text.replace("-- Dump completed", "DROP TABLE shop.orders;\n-- Dump completed"))
        self.fails("shop.orders: the dump has it, and it was not restored", arguments=["--verify"])

    def replace(self, dump, text):
        old = self.manifest(dump.name)
        dump.write_bytes(gzip.compress(text.encode()))
        new = {"sha256": hashlib.sha256(dump.read_bytes()).hexdigest(), "bytes": dump.stat().st_size}
        manifest = Path(f"{dump}.json")
        words = manifest.read_text()
        for field, value in new.items():
            words = words.replace(json.dumps(old[field]), json.dumps(value))
        manifest.write_text(words)
