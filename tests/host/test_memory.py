from __future__ import annotations

import platform

import torch

from s3prl_gendistiller.host.memory import keep_freed_memory, peak_resident_gib


def test_glibc_takes_the_settings_as_often_as_they_are_made() -> None:
    with_glibc = platform.libc_ver()[0] == "glibc"
    assert [keep_freed_memory(), keep_freed_memory()] == [with_glibc] * 2


def test_the_peak_grows_with_what_is_held_and_stays_when_it_is_freed() -> None:
    before = peak_resident_gib()
    block = torch.ones(2**29, dtype=torch.uint8)  # half a GiB, touched
    held = peak_resident_gib()
    del block
    assert held >= before and held >= 0.5 and peak_resident_gib() >= held
