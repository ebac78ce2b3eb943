"""The mysql hook against a stand-in for MySQL's client, which notes what it is given and when; no server is run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from hooks import HookTest, mounted, needs_mounts, wait_until

CLIENT = """#!PYTHON
import json, os, pathlib, subprocess, sys, time

folder = pathlib.Path(os.environ["STAND_IN"])
server = json.loads((folder / "server").read_text())
execute = [each.removeprefix("--execute=") for each in sys.argv[1:] if each.startswith("--execute=")]

def note(what):
    # Whether the data can be written at this moment is seen by trying.
    frozen = subprocess.run(["timeout", "0.3", "fsfreeze", "--freeze", server["mount"]], capture_output=True)
    if frozen.returncode == 0:
        subprocess.run(["fsfreeze", "--unfreeze", server["mount"]], check=True)
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps([what, b"busy" in frozen.stderr]) + "\\n")

if execute:
    if "error" in server:
        sys.exit(server["error"])
    for name, value in server["variables"].items():
        print(name, value, sep="\\t")
    sys.exit()
(folder / "client").write_text(str(os.getpid()))
for line in sys.stdin:
    statements = [each.strip() for each in line.strip().rstrip(";").split(";")]
    for statement in statements[:-1]:
        note(statement)
        if "slow" in server and statement.startswith("FLUSH"):
            time.sleep(server["slow"])
        if statement == server.get("refuses"):
            print("ERROR 1227 (42000): Access denied; you need RELOAD", file=sys.stderr)
            sys.exit(1)
    print(statements[-1].split("'")[1], flush=True)
note("closed")
""".replace("PYTHON", sys.executable)


@needs_mounts
class MySql(HookTest):
    kind = "mysql"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = cls.enterClassContext(mounted(cls.base, 16))
        (cls.data / "mysql").mkdir()

    def setUp(self):
        super().setUp()
        program = self.own / "programs/mysql"
        program.parent.mkdir()
        program.write_text(CLIENT)
        program.chmod(0o755)
        self.environment.update(PATH=f"{program.parent}:{self.environment['PATH']}", STAND_IN=str(self.own))
        self.server()

    def server(self, **more):
        variables = {
            "version": "8.4.3",
            "version_comment": "MySQL Community Server - GPL",
            "hostname": os.uname().nodename,
            "datadir": f"{self.data}/mysql/",
            "innodb_data_home_dir": "",
            "innodb_log_group_home_dir": "./",
            **more.pop("variables", {}),
        }
        (self.own / "server").write_text(json.dumps({"mount": str(self.data), "variables": variables, **more}))

    def calls(self):
        text = self.read(self.own, "calls")
        return [json.loads(line) for line in text.splitlines()]

    def test_a_read_lock_is_held_by_an_open_session_from_before_the_freeze_until_after_the_thaw(self):
        answer = self.pre()
        self.assertIn("MySQL 8.4.3: FLUSH TABLES WITH READ LOCK", answer.out)
        settings = "SET SESSION lock_wait_timeout = 10, SESSION wait_timeout = 3600"
        before = [[settings, False], ["FLUSH TABLES WITH READ LOCK", False]]
        self.assertEqual(self.calls(), before)
        self.post()
        wait_until(lambda: len(self.calls()) == 4, "the session has ended")
        self.assertEqual(self.calls(), [*before, ["UNLOCK TABLES", False], ["closed", False]])

    def test_it_is_frozen_while_the_lock_is_held(self):
        self.pre()
        done = subprocess.run(["fsfreeze", "--freeze", self.data], capture_output=True, text=True)
        self.assertIn("busy", done.stderr)
        self.post()

    def test_it_thaws_when_the_session_ends(self):
        self.pre()
        os.kill(int(self.read(self.own, "client")), signal.SIGKILL)
        wait_until(lambda: self.remembered("state") == "thawed", "it is thawed")
        self.assertIn("session that held the lock", self.post(203, "crash").reason)

    def test_a_user_without_the_privilege(self):
        self.server(refuses="FLUSH TABLES WITH READ LOCK")
        self.refused(201, "you need RELOAD")
        subprocess.run(["fsfreeze", "--freeze", self.data], check=True)
        subprocess.run(["fsfreeze", "--unfreeze", self.data], check=True)

    def test_a_lock_that_comes_too_late_for_the_pre_script_is_given_back_at_once(self):
        self.server(slow=3)
        self.refused(201, "nothing was frozen within 1 s", executionTimeout="3")
        wait_until(lambda: ["UNLOCK TABLES", False] in self.calls(), "the lock is given back")
        wait_until(lambda: self.remembered("state") in ("failed", "thawed"), "it has ended")
        (self.data / "written").write_text("at once")

    def test_a_freeze_that_hangs_keeps_neither_the_lock_nor_its_writers_waiting(self):
        hangs = self.own / "hangs"
        hangs.touch()
        self.addCleanup(hangs.unlink, missing_ok=True)
        program = self.own / "programs/fsfreeze"
        program.write_text(
            "#!/bin/bash\n"
            f"while [[ $1 == --freeze && $2 == -- && -e {hangs} ]]; do sleep 0.05; done\n"
            'PATH=${PATH#*:} fsfreeze "$@"\n'
        )
        program.chmod(0o755)
        self.refused(202, "may still be frozen", executionTimeout="4")
        client = int(self.read(self.own, "client"))
        wait_until(lambda: not Path(f"/proc/{client}").exists(), "the session has ended")
        self.assertTrue(hangs.exists())
        hangs.unlink()
        wait_until(lambda: self.remembered("state") == "failed", "what was frozen late is thawed")
        self.refused(205, "called off", command="post-script")

    def test_other_servers_are_refused(self):
        for variables, words in (
            ({"version": "10.11.6-MariaDB"}, "the document mariadb"),
            ({"hostname": "db2"}, "the server of db2"),
            ({"datadir": "/nowhere/"}, "does not exist on this instance"),
        ):
            self.server(variables=variables)
            self.refused(206, words, command="dry-run")
        self.server(error="ERROR 2002 (HY000): Can't connect")
        self.refused(206, "does not answer", "2002", command="dry-run")

    def test_logs_on_the_root_file_system_cannot_be_frozen(self):
        self.server(variables={"log_bin_basename": "/var/lib/binlog"})
        self.refused(206, "/var", "HOOK_MODE=dump", command="dry-run")
