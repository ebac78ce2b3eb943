"""Stands in for MySQL's `mysql` and `mysqldump`, which no package here has.

It knows the options of the version that it is told to be, refuses others as the real programs do, writes down what it
was called with, and answers the scripts' questions and writes a dump as MySQL does. $MYSQL_STAND_IN names the JSON file
that tells it what server there is.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

COMMON = {"defaults-extra-file", "no-defaults", "user", "default-character-set", "help", "version"}
CLIENT = COMMON | {"connect-timeout", "batch", "skip-column-names", "execute"}
DUMP = COMMON | {
    "quick",
    "routines",
    "events",
    "triggers",
    "no-tablespaces",
    "max-allowed-packet",
    "single-transaction",
    "lock-tables",
    "lock-all-tables",
    "all-databases",
    "databases",
    "set-gtid-purged",
}


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def dump_options(version: str) -> set[str]:
    """By the release notes: column-statistics came with 8.0.0, COMMENTED with 8.0.17, source-data with 8.0.26."""
    options = set(DUMP) | {"master-data"}
    if number(version) >= (8, 0, 0):
        options.add("column-statistics")
    if number(version) >= (8, 0, 26):
        options.add("source-data")
    return options


def refuse(program: str, text: str, status: int) -> NoReturn:
    print(f"{program}: {text}", file=sys.stderr)
    sys.exit(status)


def parse(program: str, arguments: list[str], known: set[str]) -> tuple[dict[str, str], list[str]]:
    options, names = {}, []
    for place, argument in enumerate(arguments):
        if not argument.startswith("--"):
            names.append(argument)
            continue
        name, _, value = argument[2:].partition("=")
        if name not in known:
            refuse(program, f"[ERROR] unknown option '--{name}'.", 2)
        if name == "defaults-extra-file" and place:
            refuse(program, f"[ERROR] unknown variable 'defaults-extra-file={value}'.", 2)
        options[name] = value
    return options, names


def show_help(version: str) -> None:
    print(f"mysqldump  Ver {version} for Linux on x86_64 (MySQL Community Server - GPL)")
    for name in sorted(dump_options(version)):
        print(f"  --{name}{'[=#]' if name.endswith('-data') else ''}")
    if number(version) >= (8, 0, 17):
        print("  --set-gtid-purged[=name]  Possible values for this option are ON, COMMENTED, OFF and AUTO.")


def answer(server: dict[str, Any], sql: str) -> list[tuple[str, ...]]:
    tables = server["tables"]
    if "SHOW GLOBAL VARIABLES" in sql:
        return [
            ("version", server["version"]),
            ("version_comment", server.get("comment", "MySQL Community Server - GPL")),
            ("hostname", "db1"),
            ("port", "3306"),
            ("log_bin", server.get("log_bin", "ON")),
            ("lower_case_table_names", "0"),
            ("innodb_page_size", "16384"),
        ]
    if sql == "SHOW DATABASES":
        return [(name,) for name in ("information_schema", "mysql", "performance_schema", "sys", *tables)]
    if "information_schema.user_privileges" in sql:
        return [("*", "SELECT"), ("*", "TRIGGER")]
    if "information_schema.tables" in sql:
        return [
            ("mysql", "general_log", "no", "0"),
            *((database, table, "yes", "16384") for database in tables for table in tables[database]),
        ]
    raise SystemExit(f"the stand-in has no answer to: {sql}")


def write_dump(server: dict[str, Any], options: dict[str, str], names: list[str]) -> None:
    databases = names if "databases" in options else ["mysql", *server["tables"]]
    position = options.get("source-data", options.get("master-data"))
    print(f"-- MySQL dump 10.13  Distrib {server['client']}, for Linux (x86_64)\n--\n-- Host: localhost    Database: ")
    print("-- ------------------------------------------------------\n-- Server version\t" + server["version"] + "\n")
    for text in (
        "40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT",
        "50503 SET NAMES utf8mb4",
        "40103 SET @OLD_TIME_ZONE=@@TIME_ZONE",
        "40103 SET TIME_ZONE='+00:00'",
        "40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0",
        "40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0",
        "40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO'",
        "40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0",
    ):
        print(f"/*!{text} */;")
    if position:
        words = (
            ("REPLICATION SOURCE TO SOURCE", "SOURCE") if "source-data" in options else ("MASTER TO MASTER", "MASTER")
        )
        print(
            f"\n--\n-- Position to start replication or point-in-time recovery from\n--\n\n"
            f"-- CHANGE {words[0]}_LOG_FILE='binlog.000003', {words[1]}_LOG_POS=157;"
        )
    for database in databases:
        if database == server.get("left_out"):
            continue
        print(f"\n--\n-- Current Database: `{database}`\n--\n")
        print(f"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `{database}` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\n")
        print(f"USE `{database}`;")
        for table, rows in server["tables"].get(database, {}).items():
            if table == server.get("left_out"):
                continue
            print(f"\n--\n-- Table structure for table `{table}`\n--\n\nDROP TABLE IF EXISTS `{table}`;")
            print(f"CREATE TABLE `{table}` (\n  `id` int NOT NULL,\n  `note` text,\n  PRIMARY KEY (`id`)\n)", end="")
            print(" ENGINE=InnoDB;")
            print(f"\n--\n-- Dumping data for table `{table}`\n--\n\nLOCK TABLES `{table}` WRITE;")
            if rows:
                values = ",".join(f"({number},{note})" for number, note in enumerate(rows, start=1))
                print(f"INSERT INTO `{table}` VALUES {values};")
            print("UNLOCK TABLES;")
            if server.get("dies"):
                sys.stdout.flush()
                refuse(
                    "mysqldump",
                    f"Error 2013: Lost connection to MySQL server during query when dumping table `{table}` at row: 1",
                    3,
                )
    print("/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n")
    if not server.get("cut"):
        print("-- Dump completed on 2026-11-22  2:00:01")


def main() -> None:
    program, *arguments = sys.argv[1:]
    settings = Path(os.environ["MYSQL_STAND_IN"])
    server = json.loads(settings.read_text())
    if any(argument.startswith("--socket=") for argument in arguments):
        # The scratch server is a MariaDB.
        os.execvp("mariadb", ["mariadb", *arguments])
    with settings.with_suffix(".calls").open("a") as calls:
        calls.write(json.dumps([program, *arguments]) + "\n")
    known = CLIENT if program == "mysql" else dump_options(server["client"])
    options, names = parse(program, arguments, known)
    if "help" in options:
        show_help(server["client"])
    elif "error" in server:
        refuse("ERROR" if program == "mysql" else program, server["error"], 1)
    elif program == "mysql":
        for row in answer(server, options["execute"]):
            print("\t".join(row))
    else:
        if (
            "set-gtid-purged" in options
            and options["set-gtid-purged"] == "COMMENTED"
            and number(server["client"]) < (8, 0, 17)
        ):
            refuse(program, "[ERROR] Unknown value to set-gtid-purged: COMMENTED", 2)
        if "column-statistics" not in options and number(server["client"]) >= (8, 0, 0) > number(server["version"]):
            refuse(
                program,
                "Couldn't execute 'SELECT COLUMN_NAME … FROM information_schema.COLUMN_STATISTICS': "
                "Unknown table 'COLUMN_STATISTICS' in information_schema (1109)",
                2,
            )
        write_dump(server, options, names)
