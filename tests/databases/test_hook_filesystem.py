"""The filesystem hook, and what all hooks share: one freeze, its thaw, its watchdog, and what is refused."""

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

from hooks import HookTest, Writer, mounted, needs, needs_mounts, wait_until


class FrozenTest(HookTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = cls.enterClassContext(mounted(cls.base, 16))

    def setUp(self):
        super().setUp()
        self.paths = {"paths": str(self.data)}

    def writer(self):
        def write(number):
            with (self.data / "numbers").open("a") as file:
                file.write(f"{number}\n")
                file.flush()
                os.fsync(file.fileno())

        return Writer(write)

    def is_frozen(self, mount):
        """A second freeze is refused as busy, and a first one is taken back."""
        done = subprocess.run(["fsfreeze", "--freeze", mount], capture_output=True, text=True)
        if done.returncode == 0:
            subprocess.run(["fsfreeze", "--unfreeze", mount], check=True)
        return "busy" in done.stderr

    def holder(self, execution=None):
        """The process that stands behind the one that holds the freeze, and that one."""
        guard = int(self.remembered("actor", execution).split()[0])
        children = Path(f"/proc/{guard}/task/{guard}/children")
        # While it is being frozen there are short-lived ones beside it.
        wait_until(lambda: len(children.read_text().split()) == 1, "what holds the freeze is its only child")
        return guard, int(children.read_text())


@needs_mounts
class Freeze(FrozenTest):
    def test_writes_wait_from_the_pre_script_to_the_post_script(self):
        with self.writer() as writer:
            answer = self.pre(**self.paths)
            self.assertIn(f"freezes {self.data} (/dev/loop", answer.out)
            self.assertTrue(writer.waits())
            thawed = self.post()
            writer.goes_on()
        self.assertRegex(thawed.out, r"thawed after \d+\.\d s")
        self.assertEqual(thawed.said, {"version": 1, "consistency": "application"})

    def test_the_volumes_are_named_and_the_devices_that_show_none(self):
        device = subprocess.run(["findmnt", "-n", "-o", "SOURCE", self.data], capture_output=True, text=True)
        both = [self.start("pre-script", **self.paths) for _ in range(2)]
        for answer in map(self.finish, both):
            self.assertEqual((answer.said["volumes"], answer.said["unknownDevices"]), ([], [device.stdout.strip()]))
        self.assertNotIn("volumes", self.post().said)
        programs = self.own / "programs"
        programs.mkdir()
        self.environment["PATH"] = f"{programs}:{self.environment['PATH']}"
        part, nitro, other = "/dev/p part", "/dev/n disk vol0b", "/dev/m disk vol-0a"
        for shown, volumes, unknown in (
            (f"{part}\\n{nitro}", ["vol-0b"], []),
            (f"/dev/r raid0\\n{nitro}\\n{other}\\n{nitro}", ["vol-0a", "vol-0b"], []),
            (f"/dev/l lvm\\n{nitro}\\n/dev/xvdf disk", ["vol-0b"], ["/dev/xvdf"]),
            (f"{nitro}\\n/dev/i disk AWS0123", ["vol-0b"], ["/dev/i"]),
            ("", [], [device.stdout.strip()]),
        ):
            (programs / "lsblk").write_text(f"#!/bin/sh\nprintf '{shown}\\n'\n")
            (programs / "lsblk").chmod(0o755)
            self.execution = str(uuid.uuid4())
            said = self.pre(**self.paths).said
            self.assertEqual((said["volumes"], said["unknownDevices"]), (volumes, unknown), shown)
            self.post()

    def test_two_file_systems_are_frozen_and_thawed(self):
        with mounted(self.own / "second", 16) as second:
            self.pre(paths=f"{self.data},{second}/lost+found, {second}")
            self.assertEqual(self.remembered("mounts").split(), [str(self.data), str(second)])
            for mount in (self.data, second):
                self.assertTrue(self.is_frozen(mount), mount)
            self.post()
            for mount in (self.data, second):
                self.assertFalse(self.is_frozen(mount), mount)

    @needs(("mkfs.xfs", "xfsprogs"))
    def test_xfs(self):
        with mounted(self.own / "second", 320, "xfs") as second:
            self.assertIn(", xfs)", self.pre(paths=str(second)).out)
            self.assertTrue(self.is_frozen(second))
            self.post()
            self.assertFalse(self.is_frozen(second))

    def test_it_thaws_by_itself_when_nobody_comes(self):
        with self.writer() as writer:
            self.pre(freezeSeconds="1", **self.paths)
            self.assertTrue(writer.waits())
            writer.goes_on()
            wait_until(lambda: self.remembered("state") == "thawed", "the watchdog has thawed")
        answer = self.post(203, "crash")
        self.assertIn("nobody came within 1 s", answer.reason)
        self.refused(204, "has ended", **self.paths)

    def test_a_second_execution_is_refused_while_one_is_open(self):
        self.pre(**self.paths)
        other = str(uuid.uuid4())
        self.refused(204, self.execution, "is open", execution=other, **self.paths)
        self.refused(205, "had no pre-script", command="post-script", execution=other)
        self.assertEqual(self.remembered("state"), "frozen")
        self.post()
        third = str(uuid.uuid4())
        self.pre(third, **self.paths)
        self.post(execution=third)

    def test_a_pre_script_that_is_delivered_twice_freezes_once(self):
        both = [self.start("pre-script", **self.paths) for _ in range(2)]
        for process in both:
            answer = self.finish(process)
            self.assertEqual((answer.code, answer.consistency), (0, "application"), answer.err)
        self.pre(**self.paths)
        self.assertEqual(self.remembered("mounts").split(), [str(self.data)])
        self.post()
        again = self.post()
        self.assertIn("thawed after", again.out)

    def test_a_post_script_that_comes_first_keeps_its_pre_script_from_freezing(self):
        self.refused(205, "no pre-script", command="post-script")
        self.refused(204, "came first", **self.paths)
        self.refused(205, "froze nothing", command="post-script")

    def test_the_next_execution_is_possible_after_one_that_failed(self):
        self.refused(206, "does not exist", paths="/nowhere")
        self.refused(205, "does not exist", command="post-script")
        other = str(uuid.uuid4())
        self.pre(other, **self.paths)
        self.post(execution=other)


@needs_mounts
class Death(FrozenTest):
    def test_what_holds_the_freeze_is_killed_and_it_is_thawed_at_once(self):
        with self.writer() as writer:
            self.pre(**self.paths)
            guard, holder = self.holder()
            os.kill(holder, signal.SIGKILL)
            writer.goes_on()
            wait_until(lambda: self.remembered("state") == "thawed", "what stood behind it has thawed")
        self.assertIn("was ended", self.post(203, "crash").reason)
        wait_until(lambda: not Path(f"/proc/{guard}").exists(), "it has ended, too")

    def test_what_holds_the_freeze_is_stopped_and_it_is_thawed_at_once(self):
        with self.writer() as writer:
            self.pre(**self.paths)
            _, holder = self.holder()
            os.kill(holder, signal.SIGTERM)
            writer.goes_on()
        self.assertIn("stopped by a signal", self.post(203, "crash").reason)

    def test_all_that_holds_the_freeze_is_killed_and_the_post_script_thaws(self):
        with self.writer() as writer:
            self.pre(**self.paths)
            os.killpg(self.holder()[0], signal.SIGKILL)
            self.assertTrue(writer.waits())
            self.assertIn("was gone", self.post(203, "crash").reason)
            writer.goes_on()

    def test_all_that_holds_the_freeze_is_killed_and_the_next_pre_script_thaws(self):
        self.pre(freezeSeconds="1", **self.paths)
        os.killpg(self.holder()[0], signal.SIGKILL)
        deadline = int(self.remembered("deadline"))
        wait_until(lambda: time.time() > deadline, "its time is over")
        other = str(uuid.uuid4())
        self.pre(other, **self.paths)
        self.assertIn("nobody came", self.post(203, "crash").reason)
        self.post(execution=other)

    def test_a_pre_script_that_the_agent_kills_leaves_a_freeze_that_the_post_script_ends(self):
        with self.writer() as writer:
            process = self.start("pre-script", **self.paths)
            wait_until(lambda: self.remembered("mounts"), "it freezes")
            self.end(process)
            wait_until(lambda: self.remembered("state") == "frozen", "it is frozen all the same")
            self.assertTrue(writer.waits())
            self.post()
            writer.goes_on()


# As fsfreeze where the mount and the command are those that the test names, while its file is there.
SLOW = """#!/bin/bash
real() { PATH=${PATH#*:} fsfreeze "$@"; }
if [[ -e $STAND_IN/fails && $* == "$(cat "$STAND_IN/fails")" ]]; then
    echo "$3: Input/output error" >&2
    exit 1
fi
if [[ -e $STAND_IN/hangs && $* == "$(cat "$STAND_IN/hangs")" ]]; then
    : > "$STAND_IN/hung"
    while [[ -e $STAND_IN/hangs ]]; do sleep 0.05; done
fi
real "$@"
"""


@needs_mounts
class Partly(FrozenTest):
    """Two file systems of which one is slow to freeze, or does not thaw."""

    def setUp(self):
        super().setUp()
        self.second = self.enterContext(mounted(self.own / "second", 16))
        self.paths = {"paths": f"{self.data},{self.second}"}
        program = self.own / "programs/fsfreeze"
        program.parent.mkdir()
        program.write_text(SLOW)
        program.chmod(0o755)
        self.environment.update(PATH=f"{program.parent}:{self.environment['PATH']}", STAND_IN=str(self.own))

    def say(self, name, words):
        file = self.own / name
        file.write_text(words)
        return file

    def test_what_the_watchdog_thawed_in_part_is_not_application_consistent_after_the_rest(self):
        fails = self.say("fails", f"--unfreeze -- {self.second}")
        self.pre(freezeSeconds="1", **self.paths)
        wait_until(lambda: self.remembered("state") == "stuck", "the watchdog has thawed one of two")
        self.assertIn("Input/output error", self.post(202, "crash").reason)
        fails.unlink()
        answer = self.post(203, "crash")
        self.assertIn("nobody came within 1 s", answer.reason)

    def test_what_the_post_script_thawed_in_part_is_not_application_consistent_after_the_rest(self):
        fails = self.say("fails", f"--unfreeze -- {self.second}")
        self.pre(**self.paths)
        self.assertIn("Input/output error", self.post(202, "crash").reason)
        fails.unlink()
        self.assertIn("a later post-script", self.post(203, "crash").reason)

    def test_a_freeze_that_hangs_is_answered_as_perhaps_frozen_and_the_rest_is_thawed(self):
        hangs = self.say("hangs", f"--freeze -- {self.second}")
        self.addCleanup(hangs.unlink, missing_ok=True)
        with self.writer() as writer:
            answer = self.refused(202, "may still be frozen", executionTimeout="4", **self.paths)
            self.assertIn("not everything was frozen within 2 s", answer.reason)
            self.assertTrue((self.own / "hung").exists())
            writer.goes_on()
        hangs.unlink()
        wait_until(lambda: self.remembered("state") == "failed", "what was frozen late is thawed")
        self.assertFalse(self.is_frozen(self.second))
        self.refused(205, "called off", command="post-script")

    def test_a_freeze_that_hangs_is_thawed_when_the_time_is_over_though_the_pre_script_waits(self):
        hangs = self.say("hangs", f"--freeze -- {self.second}")
        self.addCleanup(hangs.unlink, missing_ok=True)
        process = self.start("pre-script", freezeSeconds="1", **self.paths)
        with self.writer() as writer:
            writer.goes_on()
        answer = self.finish(process)
        self.assertEqual((answer.code, answer.consistency), (202, "crash"))
        self.assertIn(f"{self.second} may still be about to freeze", answer.reason)
        self.post(203, "crash")
        hangs.unlink()
        wait_until(lambda: not self.processes(), "the hook has ended")
        self.assertFalse(self.is_frozen(self.second))


@needs_mounts
class Refusals(FrozenTest):
    def test_the_root_file_system_is_never_frozen(self):
        for command in ("pre-script", "dry-run"):
            answer = self.refused(206, "cannot be frozen safely", "/usr", command=command, paths="/usr")
            self.assertIn("a file system of its own", answer.reason)
        self.refused(206, "cannot be frozen safely", paths=f"{self.data},/", execution=str(uuid.uuid4()))

    def test_other_types_are_not_frozen(self):
        self.refused(206, "of type", "ext4", paths="/proc")

    def test_a_dry_run_changes_nothing(self):
        answer = self.run_hook("dry-run", "None", **self.paths)
        self.assertEqual((answer.code, answer.consistency), (0, "application"))
        self.assertIn(f"freezes {self.data}", answer.out)
        self.assertFalse(self.state.exists())

    def test_what_is_asked_for_is_checked(self):
        self.refused(206, "no paths are named", "HOOK_PATHS")
        self.refused(206, "begin with /", paths="data", execution=str(uuid.uuid4()))
        self.refused(206, "a UUID", execution="None", **self.paths)

    def test_the_file_of_settings(self):
        config = self.own / "conf"
        self.environment["HOOK_CONFIG"] = str(config)
        config.write_text(f"# What is frozen\nHOOK_PATHS={self.data}\n")
        config.chmod(0o644)
        self.pre()
        self.post()
        config.write_text("HOOK_PATH=/data\n")
        self.refused(206, "line 1", "HOOK_PATHS", command="dry-run")
        for line, shown in (
            ("HOOK_PASSWORD=s3cret", "line 1 (HOOK_PASSWORD) is no setting"),
            ("password = s3cret", "line 1 (password) is no setting"),
            ("password s3cret", "line 1 is no setting"),
            ("s3cret==", "line 1 is no setting"),
        ):
            config.write_text(line + "\n")
            answer = self.refused(206, shown, command="dry-run")
            self.assertNotIn("s3cret", answer.out + answer.err)
        config.chmod(0o666)
        self.refused(206, "chmod", command="dry-run")

    def test_the_folder_of_what_is_known_is_roots_alone(self):
        self.state.mkdir(mode=0o777)
        os.chown(self.state, 12345, 12345)
        self.refused(206, "no folder of root's", **self.paths)
