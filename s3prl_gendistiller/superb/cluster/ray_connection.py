"""The connection of a controlling process with a Ray that runs already: within seconds, or one message.

Ray itself waits for minutes for a head that does not answer, and prints what other hosts report.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

from s3prl_gendistiller.errors import UserError

KNOCK_S = 5.0
ANSWER_S = 20.0  # a busy host needs seconds to import Ray
_ASK = """
import logging, sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
except Exception as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
"""


def connect(address: str | None) -> None:
    """Connects this process to a running Ray, without a Ray of its own; UserError as `ray_engine.Ray.require`."""
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a call after the end starts no Ray of its own
    try:
        import ray
    except ImportError as error:
        found = f"--cluster ray: the package ray is missing ({error})"
        raise UserError(f"{found}; install it on every host: pip install 's3prl-gendistiller[ray]'") from error
    if ray.is_initialized():
        return
    given = address or os.environ.get("RAY_ADDRESS") or "auto"
    _knock(given)
    with _signals_as_they_were():
        try:
            ray.init(address=given, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:
            raise UserError(_refused(given, " ".join(str(error).split()))) from error


def _knock(address: str) -> None:
    """Asks a Ray for an answer in another process, because Ray itself waits and prints for minutes."""
    if address != "auto" and not re.fullmatch(r"[\w.:\[\]-]+:\d+", address):
        raise UserError(f"--ray-address {address}: expected HOST:PORT of Ray's head, such as 10.0.0.1:6379")
    if address != "auto" and not listens(address, KNOCK_S):
        raise UserError(_refused(address, f"nothing answers there within {KNOCK_S:g} s"))
    command = [sys.executable, "-c", _ASK, address]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(_refused(address, f"no Ray of this version answers there within {ANSWER_S:g} s")) from error
    if asked.returncode:
        raise UserError(_refused(address, asked.stdout.strip() or asked.stderr.strip()[-300:]))


def _refused(address: str, reason: str) -> str:
    where = "the Ray of this host" if address == "auto" else address
    expected = "a Ray that was started with `ray start` on every host, this one included, with the same Python and Ray"
    remedy = "--ray-address HOST:PORT names its head"
    if "RAY_AUTH_MODE" not in os.environ:
        remedy += "; if its nodes were started with a token, set RAY_AUTH_MODE=token here"
    return f"--cluster ray: cannot connect to {where}: {reason.rstrip('.')}; expected {expected}; {remedy}"


def listens(address: str, seconds: float) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def first_line(error: BaseException) -> str:
    """The line of an error that says what happened; Ray's errors begin with a traceback of the host."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if lines else 'no message'}"


class OwnThreads:
    """A stream that leaves out what Ray's threads print: what they report is in the error of a task."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _signals_as_they_were() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM in the main thread."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
