"""Counts what was checked."""

import ctypes
import signal
import sys

passed = failed = 0
libc = ctypes.CDLL(None)


def end_with_parent():
    """Whatever ends the script, nothing that it has started goes on."""
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def check(name, got, expected=True):
    """Whether two things are the same; says so and goes on."""
    global passed, failed
    if got == expected:
        passed += 1
        print(f"ok       {name}")
    else:
        failed += 1
        got = got if isinstance(got, str) else repr(got)
        print(f"FAILED   {name}\n  expected: {expected!r}\n  got:      {got}")


def finish():
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)
