"""Mistakes as they are shown, also those that are found in another process."""

from __future__ import annotations

import pytest
from torch.utils.data import DataLoader, Dataset

from s3prl_gendistiller.errors import ConfigError, UserError, few


class Broken(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise UserError("a.wav: 44100 Hz\n  and more")


def test_a_mistake_found_by_a_worker_says_what_it_said_there() -> None:
    with pytest.raises(UserError) as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert str(caught.value) == "a.wav: 44100 Hz\n  and more"


def test_few_of_many_are_named() -> None:
    assert few(["a", "b"]) == "a, b" and few("abcde") == "a, b, c and 2 more"


def test_what_a_message_quotes_cannot_command_a_terminal() -> None:
    assert str(UserError("found \x1b[2J\x07 and \u202e in é/ü\n  next line")) == (
        "found \\x1b[2J\\x07 and \\u202e in é/ü\n  next line"
    )
    assert "\x1b" not in str(ConfigError("a.yaml", ["\x1b[31m: unknown key"]))
