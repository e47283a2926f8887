from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.distill.metrics import METRICS_FILE, append_metrics, read_metrics
from s3prl_gendistiller.errors import UserError


def test_a_step_written_again_counts_once_as_written_last(tmp_path: Path) -> None:
    for step, loss in ((10, 3.0), (20, 2.0), (10, 1.0)):
        append_metrics(tmp_path, "train", step, {"loss": loss})
    append_metrics(tmp_path, "valid", 10, {"loss": 9.0})
    assert read_metrics(tmp_path, "train") == {10: {"loss": 1.0}, 20: {"loss": 2.0}}
    assert read_metrics(tmp_path, "valid") == {10: {"loss": 9.0}}


def test_a_line_cut_off_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    append_metrics(tmp_path, "train", 1, {"loss": 1.0})
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"split": "train", "st')
    assert list(read_metrics(tmp_path, "train")) == [1]


def test_a_folder_that_logged_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="metrics.jsonl: not there"):
        read_metrics(tmp_path, "train")
