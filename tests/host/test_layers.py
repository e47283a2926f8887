from __future__ import annotations

from urllib.error import URLError

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import layers


def test_an_upstream_that_cannot_be_fetched_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**unused: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(layers, "require_upstream", lambda name, door: unreachable)
    with pytest.raises(
        UserError, match=r"--student: hubert could not be downloaded or loaded \(.*no network.*s3prl's cache"
    ):
        layers.load_upstream("hubert", None)
