from __future__ import annotations

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.overrides import apply_overrides


def test_overrides_are_read_as_the_host_reads_them() -> None:
    content = {"runner": {"total_steps": 1}, "optimizer": {"name": "a"}}
    text = "config.runner.total_steps=5,,config.optimizer.name='b',,config.new.key=[1, 2],,args.seed=3"
    assert apply_overrides(content, text) == {
        "runner": {"total_steps": 5},
        "optimizer": {"name": "b"},
        "new": {"key": [1, 2]},
    }
    assert apply_overrides(content, None) is content
    with pytest.raises(UserError, match="expected key=value"):
        apply_overrides(content, "config.a=b=c")
