from __future__ import annotations

import platform

from s3prl_gendistiller.host.memory import keep_freed_memory


def test_glibc_takes_the_settings_as_often_as_they_are_made() -> None:
    with_glibc = platform.libc_ver()[0] == "glibc"
    assert [keep_freed_memory(), keep_freed_memory()] == [with_glibc] * 2
