"""The import line in `hub.py`: in its alphabetical place, and out again byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.host.hub_line import HUB_LINE, with_hub_line, without_hub_line

HUB = b"""from s3prl.downstream.timit_phone.hubconf import timit_posteriorgram
from s3prl.upstream.apc.hubconf import *
from s3prl.upstream.example.hubconf import *
from s3prl.upstream.hubert.hubconf import *
from s3prl.upstream.wavlm.hubconf import *


def options():
    return []
"""


@pytest.mark.parametrize(
    "text",
    [
        HUB,
        HUB.replace(b"\n", b"\r\n"),
        HUB.rstrip(),
        b"from s3prl.upstream.apc.hubconf import *",
        b"from s3prl.upstream.apc.hubconf import *\n",
        b"# head\r\nfrom s3prl.upstream.apc.hubconf import *",
        b"\n\nfrom s3prl.upstream.wavlm.hubconf import *",
        b"\xef\xbb\xbf# \xc3\xa9\nfrom s3prl.upstream.wavlm.hubconf import *\n\n",
        b"from s3prl.upstream.apc.hubconf import *  # noqa\n# gendistiller_local is ours\nx = 1\r\ny = 2",
    ],
)
def test_the_hub_line_goes_in_once_and_out_without_a_trace(text: bytes) -> None:
    added = with_hub_line(text, Path("hub.py"))
    assert added.splitlines().count(HUB_LINE) == 1
    assert sorted(added.splitlines()) == sorted([*text.splitlines(), HUB_LINE])
    assert with_hub_line(added, Path("hub.py")) == added
    assert without_hub_line(added) == text
    assert without_hub_line(text) == text


def test_the_hub_line_stands_in_its_alphabetical_place() -> None:
    lines = with_hub_line(HUB, Path("hub.py")).splitlines()
    assert lines[2:5] == [
        b"from s3prl.upstream.example.hubconf import *",
        HUB_LINE,
        b"from s3prl.upstream.hubert.hubconf import *",
    ]
