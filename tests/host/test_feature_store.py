"""Features on disk: in a folder that can be written, within a number of bytes, beside checkpoints that need room."""

from __future__ import annotations

import argparse
import errno
import os
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import feature_store
from s3prl_gendistiller.host.feature_cache import CachedUpstream
from s3prl_gendistiller.host.feature_store import NO_ROOM, REMOVED, FeatureCache, kept_bytes, read_size
from tests.host.test_feature_cache import WAVS, Upstream, cached, files


def test_a_cache_keeps_within_its_limit_and_counts_what_others_keep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = CachedUpstream(Upstream(), "hidden_states", None, FeatureCache(tmp_path, 1000), "one")
    other = CachedUpstream(Upstream(), "hidden_states", None, FeatureCache(tmp_path, 1000), "other")
    with caplog.at_level("WARNING", "s3prl_gendistiller"):
        for upstream in (one, other, one, other):
            upstream(WAVS)
    assert len(files(tmp_path)) == 2  # 600 and 180 bytes fit, a third file does not
    assert caplog.text.count("its limit is 1 KB; new ones are computed each time") == 2
    assert one.upstream.computed == 3 + 1 and other.upstream.computed == 6
    for path in files(tmp_path):
        path.unlink()
    assert FeatureCache(tmp_path, 1000) and kept_bytes(tmp_path) < 50
    other = CachedUpstream(Upstream(), "hidden_states", None, FeatureCache(tmp_path, 1000), "other")
    other(WAVS)
    assert len(files(tmp_path)) == 2  # counted anew, with the remaining files


def test_at_its_limit_a_cache_removes_what_no_run_uses_the_oldest_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(("oldest", "older", "used", "unmarked")):
        cache = FeatureCache(tmp_path)
        CachedUpstream(Upstream(), "hidden_states", None, cache, name)([WAVS[1]])
        if name != "used":
            os.close(cache._used[name])  # as the end of its process does
        os.utime(tmp_path / name / ".in_use", (number, number))
    (tmp_path / "unmarked" / ".in_use").unlink()  # as an earlier version left it
    limit = kept_bytes(tmp_path) + 100  # and the features of WAVS[1] take 180
    new = CachedUpstream(Upstream(), "hidden_states", None, FeatureCache(tmp_path, limit), "new")
    with caplog.at_level("INFO", "s3prl_gendistiller"):
        new([WAVS[1]])
        assert caplog.text.count(REMOVED) == caplog.text.count(f"{REMOVED} oldest (") == 1
        new([torch.randn(length) for length in range(6400, 12800, 640)])  # 1,200 bytes and more each
    assert {path.parts[-3] for path in files(tmp_path)} == {"used", "unmarked", "new"}
    assert f"{REMOVED} older (" in caplog.text and NO_ROOM in caplog.text
    again = CachedUpstream(Upstream(), "hidden_states", None, FeatureCache(tmp_path, limit), "oldest")
    assert torch.equal(again([WAVS[1]])["hidden_states"][0], Upstream()([WAVS[1]])["hidden_states"][0])


def test_the_last_gigabyte_of_a_disk_is_left_to_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = cached(tmp_path)
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: argparse.Namespace(free=10**9))
    with caplog.at_level("WARNING", "s3prl_gendistiller"):
        upstream(WAVS)
    assert files(tmp_path) == [] and "keeps no more features, since 1e+03 MB are left" in caplog.text


def test_a_full_disk_is_one_message_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: IO[bytes], **layers: np.ndarray) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(feature_store.np, "savez", fail)
    with pytest.raises(UserError, match="No space left on device"):
        cached(tmp_path)(WAVS)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".in_use"]


@pytest.mark.parametrize("folder", ["file/features", "file", "/proc/features"])
def test_a_folder_that_cannot_be_written_is_named_at_once(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--cache-features .*(cannot|can) be written .*; (name|give) another"):
        FeatureCache(tmp_path / folder)


def test_sizes_are_read_as_people_write_them() -> None:
    assert [read_size(text) for text in ("50G", "1.5TB", "800 mb", "17")] == [50 * 10**9, 15 * 10**11, 8 * 10**8, 17]
    for wrong in ("", "-1G", "nan", "1e9", "0", "G", "50 apples", "9" * 5000, "\u0665G"):
        with pytest.raises(UserError, match="--cache-limit: found .*, expected a size such as 50G"):
            read_size(wrong)


def test_a_file_that_another_process_renames_at_the_start_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [tmp_path / ".a.npz.part-1"]  # listed, and renamed before its age is read
    monkeypatch.setattr(Path, "rglob", lambda folder, pattern: iter(found))
    assert FeatureCache(tmp_path).has_room()
