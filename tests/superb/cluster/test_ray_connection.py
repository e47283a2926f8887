"""A Ray that is not there, or is another, is one message within seconds; this process starts none of its own."""

from __future__ import annotations

import io
import socket
import sys
import threading
import time

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cluster import ray_connection
from s3prl_gendistiller.superb.cluster.ray_connection import OwnThreads, connect, first_line
from tests.superb.cluster.ray_nodes import free_port


def test_a_head_that_does_not_answer_is_named_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    wanted = f"cannot connect to {address}: nothing answers there within 5 s; expected .*`ray start`.*--ray-address"
    with pytest.raises(UserError, match=wanted):
        connect(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=wanted):
        connect(None)
    assert time.monotonic() - began < 10


def test_another_program_at_the_address_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_connection, "ANSWER_S", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"{address}: no Ray of this version answers there within 1\.5 s"):
            connect(address)


def test_an_address_of_another_form_is_refused() -> None:
    for wrong in ("ray://10.0.0.1:10001", "local", "10.0.0.1"):
        with pytest.raises(UserError, match=f"--ray-address {wrong}: expected HOST:PORT"):
            connect(wrong)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"the package ray is missing .*pip install 's3prl-gendistiller\[ray\]'"):
        connect(None)


def test_what_rays_threads_print_is_left_out() -> None:
    stream = io.StringIO()
    own = OwnThreads(stream)
    thread = threading.Thread(target=lambda: print("chatter", file=own), name="ray_listen_error_messages")
    thread.start()
    thread.join()
    print("ours", file=own)
    assert stream.getvalue() == "ours\n" and not own.isatty()


def test_an_error_of_a_host_is_told_in_its_last_line() -> None:
    assert first_line(ValueError("Traceback\n  somewhere\nno room\n")) == "ValueError: no room"
