"""Runs a command for as long as its own standard input stays open.

    python leash.py SCRATCH_DIRECTORY COMMAND...

MiniStack starts the Lambda bootstraps as processes of their own, which nobody
would end if the process that started it all were killed. So this small process
stands between: the kernel closes the pipe whatever ends the other side, and then
the command's whole process group is killed and the scratch directory removed.
The group's id is its first line of output.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    # Should this process itself be killed, the command ends all the same.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether the child has ended. It is looked at, not reaped: until it is
    reaped, its id and its group's id cannot become another process's."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main() -> None:
    scratch, command = sys.argv[1], sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, preexec_fn=die_with_parent
    )
    try:
        print(child.pid, flush=True)
        while not has_ended(child):
            readable, _, _ = select.select([sys.stdin], [], [], 0.2)
            if readable and not os.read(sys.stdin.fileno(), 1024):
                break
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
