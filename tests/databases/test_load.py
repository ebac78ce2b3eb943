"""A dump while others write: it holds every table as of one transaction.

What that is, a third server tells: it carries out the source's binary log up to the position in the manifest. By
default there is little data; with DATABASES_LOAD=200 there are some 200 MB of it (`make databases-load`).
"""

import os
import subprocess
import time

from scripts import MARIADB, PASSWORD, ScriptTest, needs, wait_until
from server import Server
from test_mariadb import restore

MEGABYTES = int(os.environ.get("DATABASES_LOAD", "4"))
TABLES = 8
WRITERS = 3

# Every transaction changes several tables; the balances' sum is always 0.
WRITER = """
CREATE PROCEDURE write_until_told(p_writer INT)
BEGIN
    DECLARE n INT DEFAULT 0;
    DECLARE CONTINUE HANDLER FOR 1213, 1205 ROLLBACK;
    WHILE (SELECT COUNT(*) FROM stop) = 0 DO
        SET n = n + 1;
        START TRANSACTION;
        INSERT INTO orders (writer, number, note) VALUES (p_writer, n, HEX(RANDOM_BYTES(100)));
        UPDATE accounts SET balance = balance - n WHERE id = 1 + (n * 7 + p_writer) MOD 500;
        UPDATE accounts SET balance = balance + n WHERE id = 501 + (n * 3 + p_writer) MOD 500;
        {updates}
        DELETE FROM orders WHERE writer = p_writer AND number = n - 200;
        COMMIT;
    END WHILE;
END
"""


@needs(MARIADB)
class Load(ScriptTest):
    def setUp(self):
        super().setUp()
        self.source = self.server("--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", "--max-binlog-size=64M")
        self.source.make_backup_user()
        self.option_file.write_text(f'[client]\npassword="{PASSWORD}"\nsocket={self.source.socket}\n')
        self.settings["DB_BACKUP_SCRATCH_FOLDER"] = str(self.temporary)
        rows = MEGABYTES * 1_000_000 // TABLES // 300
        tables = "".join(
            f"CREATE TABLE data_{n} (id INT PRIMARY KEY, noise TEXT, words TEXT);"
            f"INSERT INTO data_{n} SELECT seq, HEX(RANDOM_BYTES(100)), REPEAT('word ', 16) FROM seq_1_to_{rows};"
            for n in range(TABLES)
        )
        updates = "".join(
            f"UPDATE data_{n} SET noise = CONCAT(p_writer, ' ', n) WHERE id = 1 + (n * 31 + {n}) MOD {rows};"
            for n in range(TABLES)
        )
        self.source.sql(
            f"CREATE DATABASE shop; USE shop; {tables}"
            "CREATE TABLE stop (a INT); CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL);"
            "CREATE TABLE orders (writer INT, number INT, note TEXT, PRIMARY KEY (writer, number));"
            "INSERT INTO accounts SELECT seq, 0 FROM seq_1_to_1000;"
            f"\nDELIMITER //\n{WRITER.format(updates=updates)}//\n"
        )

    def server(self, *options):
        server = Server("--innodb-flush-log-at-trx-commit=2", "--max-allowed-packet=1G", *options)
        self.addCleanup(server.close)
        return server

    def start_writers(self):
        writers = [
            subprocess.Popen(self.source.client("shop", f"--execute=CALL write_until_told({n})"))
            for n in range(WRITERS)
        ]
        self.addCleanup(self.stop_writers, writers)
        wait_until(lambda: self.committed() > 50, "there are orders")
        return writers

    def stop_writers(self, writers):
        self.source.sql("INSERT INTO shop.stop VALUES (1)")
        return [writer.wait(60) for writer in writers]

    def committed(self, server=None):
        return int(
            (server or self.source).sql(
                "SELECT COALESCE(SUM(number), 0) FROM (SELECT MAX(number) AS number"
                " FROM shop.orders GROUP BY writer) AS newest"
            )[0][0]
        )

    def replayed(self, binlog):
        """A server that has done what the source had done up to this position."""
        target = self.server()
        data = self.source.folder / "data"
        logs = sorted(file for file in data.glob("binlog.[0-9]*") if file.name <= binlog["file"])
        read = ["mariadb-binlog", "--no-defaults", f"--stop-position={binlog['position']}", *map(str, logs)]
        with subprocess.Popen(read, stdout=subprocess.PIPE) as events:
            done = subprocess.run(
                target.client("--binary-mode", "--max-allowed-packet=1G"), stdin=events.stdout, capture_output=True
            )
        self.assertEqual((events.returncode, done.returncode, done.stderr), (0, 0, b""))
        return target

    def test_every_table_is_as_of_the_dumps_transaction(self):
        writers = self.start_writers()
        before, began = self.committed(), time.monotonic()
        self.dump()
        dumped, after = time.monotonic() - began, self.committed()
        self.assertEqual(
            [writer.poll() for writer in writers], [None] * WRITERS, "the writers were at work all the time"
        )
        began = time.monotonic()
        code, out, err = self.run_script("--verify")
        self.assertEqual((code, err), (0, ""))
        verified = time.monotonic() - began
        self.assertEqual(self.stop_writers(writers), [0] * WRITERS)

        restored, manifest = self.server(), self.manifest()
        restore(self.folder / self.dumps()[0], restored)
        tables = restored.checksums("shop")
        self.assertEqual(len(tables), TABLES + 3 + 1)
        self.assertEqual(tables, self.replayed(manifest["binlog"]).checksums("shop"))
        self.assertNotEqual(tables, self.source.checksums("shop"))
        self.assertEqual(restored.sql("SELECT SUM(balance) FROM shop.accounts"), [["0"]])
        self.assertTrue(before <= self.committed(restored) < after, (before, self.committed(restored), after))
        if "DATABASES_LOAD" in os.environ:
            print(
                f"\n{manifest['uncompressedBytes'] / 1e6:.0f} MB ({manifest['bytes'] / 1e6:.0f} MB compressed)"
                f" dumped in {dumped:.1f} s, during which {after - before} transactions were committed;"
                f" verified in {verified:.1f} s: {out.strip()}"
            )
