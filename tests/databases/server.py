"""A MariaDB server of a test's own: in a temporary folder, on a socket, as an unprivileged user."""

import atexit
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts import PASSWORD, PATIENCE, wait_until

PATH = os.environ["PATH"] + ":/usr/sbin"
SMALL = ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=64M", "--skip-name-resolve"]

# What docs/databases.md says that a dump needs, and what it needs besides where tables are locked.
PRIVILEGES = "SELECT, SHOW VIEW, TRIGGER, EVENT"
LOCKING = ", LOCK TABLES, RELOAD, BINLOG MONITOR"


def server_user() -> str | None:
    """Root may not run it; the package's own user, or else nobody."""
    if os.geteuid() != 0:
        return None
    names = {user.pw_name for user in pwd.getpwall()}
    return "mysql" if "mysql" in names else "nobody"


@functools.cache
def empty_data() -> Path:
    """What a new server begins with takes two seconds to make: it is made once, by run.py for all tests, and copied."""
    if made := os.environ.get("MARIADB_EMPTY_DATA"):
        return Path(made)
    folder = Path(tempfile.mkdtemp(prefix="mariadb-data-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={folder}/data",
            # A server that starts removes the temporary tables that it finds, those of other servers too.
            f"--tmpdir={folder}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            "--innodb-log-file-size=8M",
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "PATH": PATH},
    )
    return folder / "data"


class Server:
    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
        self.socket = self.folder / "socket"
        shutil.copytree(empty_data(), self.folder / "data")
        self.user = server_user()
        if self.user:
            subprocess.run(["chown", "-R", f"{self.user}:", str(self.folder)], check=True)
        self.folder.chmod(0o755)
        self.options = [
            "--no-defaults",
            *SMALL,
            f"--datadir={self.folder}/data",
            f"--socket={self.socket}",
            f"--pid-file={self.folder}/pid",
            f"--tmpdir={self.folder}",
            "--skip-networking",
            "--event-scheduler=OFF",
            *([f"--user={self.user}"] if self.user else []),
            *options,
        ]
        self.process = None
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [shutil.which("mariadbd", path=PATH), *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(lambda: self.process.poll() is not None or self.answers(), "the server answers")
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text()[-2000:])

    def answers(self) -> bool:
        return subprocess.run(self.client("--execute=SELECT 1"), capture_output=True).returncode == 0

    def client(self, *arguments: str) -> list[str]:
        return [
            "mariadb",
            "--no-defaults",
            f"--socket={self.socket}",
            "--user=root",
            # It leaves comments out of routines otherwise.
            "--comments",
            "--default-character-set=utf8mb4",
            *arguments,
        ]

    def sql(self, text: str, database: str | None = None) -> list[list[str]]:
        """The rows of the last answer, as lists of strings."""
        done = subprocess.run(
            self.client("--batch", "--skip-column-names", *([database] if database else [])),
            input=text.encode(),
            capture_output=True,
        )
        if done.returncode:
            raise AssertionError(done.stderr.decode())
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def make_backup_user(self, privileges: str = PRIVILEGES) -> None:
        password = PASSWORD.replace("'", "''")
        self.sql(
            f"CREATE OR REPLACE USER backup@localhost IDENTIFIED BY '{password}';"
            f"GRANT {privileges} ON *.* TO backup@localhost;"
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)

    def checksums(self, *databases: str) -> list[list[str]]:
        """Of every table, what is in it; of every view, routine, trigger and event, what it says."""
        names = ", ".join(f"'{name}'" for name in databases)
        tables = self.sql(
            f"SELECT CONCAT('`', table_schema, '`.`', REPLACE(table_name, '`', '``'), '`')"
            f" FROM information_schema.tables WHERE table_schema IN ({names}) AND table_type = 'BASE TABLE'"
        )
        sums = self.sql("CHECKSUM TABLE " + ", ".join(name for (name,) in tables) + " EXTENDED") if tables else []
        bodies = self.sql(f"""
            SELECT 'routine', routine_schema, routine_name, routine_definition FROM information_schema.routines
                WHERE routine_schema IN ({names}) UNION ALL
            SELECT 'trigger', trigger_schema, trigger_name, action_statement FROM information_schema.triggers
                WHERE trigger_schema IN ({names}) UNION ALL
            SELECT 'event', event_schema, event_name, event_definition FROM information_schema.events
                WHERE event_schema IN ({names}) UNION ALL
            SELECT 'view', table_schema, table_name, view_definition FROM information_schema.views
                WHERE table_schema IN ({names})""")
        return sorted(sums) + sorted(bodies)


# Every kind of thing that a dump has to bring back, and names and values that are hard to write down.
SHOP = r"""
CREATE DATABASE shop; USE shop;
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, note TEXT CHARACTER SET utf8mb4, picture BLOB, price DECIMAL);
INSERT INTO orders (note, picture, price) VALUES ('it''s\n two\\ lines', x'00FF0A27', 1.5), ('),(', NULL, 2),
    ('\\''),(''', '', 3), ('😀 ü', x'5C', -1), ('-- Dump completed', NULL, NULL);
CREATE TABLE `we``ird-name` (`a ' VALUES` INT); INSERT INTO `we``ird-name` VALUES (1), (2);
CREATE TABLE empty_table (a INT);
CREATE TABLE log (id INT); CREATE TRIGGER logged AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES (NEW.id);
CREATE VIEW dear AS SELECT * FROM orders WHERE price > 1;
CREATE SEQUENCE numbers;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM log;
DELIMITER //
CREATE PROCEDURE fill_up(n INT) BEGIN
-- Current Database: `nowhere`
-- Table structure for table `nothing`
  INSERT INTO orders (note) VALUES (n);
END //
DELIMITER ;
CREATE DATABASE accounts; CREATE TABLE accounts.people (id INT PRIMARY KEY); INSERT INTO accounts.people VALUES (7);
CREATE DATABASE nothing_in_it;
"""
