"""The time of commands, against runs that were measured and cases worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite.dry_run import planned_work
from s3prl_gendistiller.superb.suite.duration import CORE_TFLOPS, Durations, basis_in_words
from s3prl_gendistiller.superb.suite.estimate import in_time
from s3prl_gendistiller.superb.suite.suite import Suite
from s3prl_gendistiller.superb.tasks import TASKS

MEASURED = [
    # G multiply-adds per second of audio, and seconds of training and test: one run on each of two cores, small
    # preset, corpus of `gendistiller corpus data --size small`, features kept
    ("fbank", 0.0027, {"pr": 107, "ks": 65, "sid": 70}),
    ("hubert_base", 0.481, {"pr": 122, "ks": 128, "sid": 116}),  # hubert_mini
    ("hubert_base", 0.349, {"pr": 120, "ks": 110, "sid": 92}),  # GenDistiller of config_model_mini.yaml
    ("hubert_base", 0.213, {"pr": 105, "ks": 100, "sid": 78}),  # the same with mel.yaml
    # docs/superb.md, section 1: the same GenDistiller on one core, without others beside it
    (
        "hubert_base",
        0.349,
        {"pr": 102, "asr": 90, "ks": 84, "sid": 78, "asv": 168, "sd": 60, "ic": 72, "sf": 240, "er": 78},
    ),
]


def seconds(
    upstream: str, gmacs: float, *tasks: str, cache: Path | None, preset: str = "small", on_gpu: bool = False
) -> list[float]:
    """The time of each task, training and test, at the assumed speed of one core (or of a GPU as fast)."""
    model = BenchmarkedModel("mine", upstream)
    suite = Suite([model], [TASKS[name] for name in tasks], preset, Path("out"), cache=cache)
    durations = Durations(suite, {"mine": gmacs}, CORE_TFLOPS, on_gpu=on_gpu)
    found = dict.fromkeys(tasks, 0.0)
    for work in planned_work(suite, {"mine": (0, 1, 2)}):
        found[work.run.task.name] += durations.seconds(work)
    return list(found.values())


@pytest.mark.parametrize(("upstream", "gmacs", "measured"), MEASURED)
def test_measured_runs_are_estimated_within_a_factor_of_two(
    upstream: str, gmacs: float, measured: dict[str, float]
) -> None:
    for name, taken in measured.items():  # each alone: PR and ASR would share their features
        (found,) = seconds(upstream, gmacs, name, cache=Path("kept"))
        assert taken / 2 < found < taken * 2, f"{name}: {found:.0f} s, measured {taken} s"


def test_kept_features_are_computed_once_for_all_tasks_that_share_their_speech() -> None:
    alone, none = (seconds("hubert_base", 5.0, "asr", cache=cache)[0] for cache in (Path("kept"), None))
    pr, after_pr = seconds("hubert_base", 5.0, "pr", "asr", cache=Path("kept"))
    assert none > 3 * alone > 4 * after_pr and pr > alone / 2
    assert seconds("fbank", 5.0, "asr", cache=Path("kept")) == [none]  # which is never kept
    crops = (seconds("hubert_base", 5.0, "sid", cache=cache, preset="official") for cache in (Path("kept"), None))
    assert next(crops) == next(crops)


def test_a_cpu_reads_the_audio_itself() -> None:
    on_cpu, on_gpu = (seconds("hubert_base", 0.2, "pr", cache=None, on_gpu=on_gpu)[0] for on_gpu in (False, True))
    assert on_cpu - on_gpu == pytest.approx(1600 * (0.02 - 0.03) + (1600 * 8 * 2.8 + 4 * 168 + 283) * 0.0006)


def test_the_basis_names_a_speed_and_where_it_comes_from() -> None:
    assert basis_in_words(0.05, False, given=False).startswith("Based on 0.05 TFLOP/s for each run, on this CPU. That")
    assert "an A40" in basis_in_words(16, True, given=False)
    assert basis_in_words(5, True, given=True).endswith("on a GPU. That speed is the one of --tflops.")


def test_a_time_has_a_unit_that_fits() -> None:
    assert [in_time(hours) for hours in (0, 0.5, 1.6, 1.7, 99.94, 1834.2)] == [
        "1 min", "30 min", "96 min", "1.7 h", "99.9 h", "1834 h"
    ]  # fmt: skip
