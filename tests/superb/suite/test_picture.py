"""The picture of a suite: what its reader sees without the table."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.text import Text

from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.picture import draw
from s3prl_gendistiller.superb.suite.results import Outcome
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS

RESULTS = {
    "mine": {"ks": Outcome({"acc": 80.0}), "qbe": Outcome({"mtwv": -1.5})},
    "mine.2": {"ks": Outcome({"acc": 90.0})},
    "fbank": {"ks": Outcome({"acc": 40.0})},
}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    models = [BenchmarkedModel(name, name) for name in RESULTS]
    return Suite(models, [TASKS["ks"], TASKS["qbe"]], "small", tmp_path)


def drawn(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Figure]:
    """All words of the picture, and its figure."""
    with monkeypatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a layout that does not fit
        patched.setattr(pyplot, "close", lambda figure: None)
        draw(suite, RESULTS, suite.out / "scores.png")
        figure = pyplot.gcf()
    pyplot.close(figure)
    texts = [text.get_text() for text in figure.findobj() if isinstance(text, Text)]
    return " ".join("\n".join(texts).split()), figure


def test_values_seeds_and_missing_tasks_are_written(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    text, figure = drawn(suite, monkeypatch)
    assert "85.00 ± 7.07" in text and "40.00" in text and "mine (n 2)" in text and "-1.50 (n 1)" in text
    assert "one sample standard deviation over the n runs of a student (mine 2 distillations)" in text
    assert "keyword spotting (KS) accuracy %, higher is better" in text
    assert "fbank: no result for QBE." in text and "small settings: not comparable" in text
    assert all(axis.get_xlim()[0] <= 0 for axis in figure.axes)


def test_synthetic_speech_is_named(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = drawn(replace(suite, preset="official", synthetic=True), monkeypatch)
    assert "official settings on synthetic speech: not comparable" in text
    text, _ = drawn(replace(suite, preset="mini"), monkeypatch)
    assert "Heads trained with mini settings: not comparable" in text
    text, _ = drawn(replace(suite, preset="official"), monkeypatch)
    assert "comparable" not in text
