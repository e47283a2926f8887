"""DER on cases worked by hand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.rttm import Turn
from s3prl_gendistiller.superb.tasks import der
from s3prl_gendistiller.superb.tasks.der import Errors, diarization_errors, turns_of

REFERENCE = [Turn("anna", 0.0, 4.0), Turn("bert", 4.0, 10.0)]


def test_the_same_turns_under_other_names_are_no_error() -> None:
    assert diarization_errors(REFERENCE, [Turn("1", 0.0, 4.0), Turn("0", 4.0, 10.0)]) == Errors(scored=10.0)


def test_nothing_heard_is_all_missed() -> None:
    assert diarization_errors(REFERENCE, []) == Errors(missed=10.0, scored=10.0)


def test_one_speaker_for_two_confuses_the_shorter_one() -> None:
    assert diarization_errors(REFERENCE, [Turn("0", 0.0, 10.0)]) == Errors(confused=4.0, scored=10.0)


def test_speech_in_silence_and_a_third_voice_are_false_alarms() -> None:
    heard = [Turn("0", 0.0, 4.0), Turn("1", 4.0, 12.0), Turn("0", 6.0, 7.0)]
    assert diarization_errors(REFERENCE, heard) == Errors(false_alarm=3.0, scored=10.0)


def test_overlap_counts_once_for_each_speaker() -> None:
    # 0-6 and 4-10: 12 speaker seconds; the second voice is missed for the 2 s of overlap, and confused after it
    reference = [Turn("anna", 0.0, 6.0), Turn("bert", 4.0, 10.0)]
    errors = diarization_errors(reference, [Turn("0", 0.0, 10.0)])
    assert errors == Errors(missed=2.0, confused=4.0, scored=12.0)
    assert errors.rate == pytest.approx(0.5)


def test_time_near_a_boundary_of_the_reference_is_scored_too() -> None:
    late = [Turn("0", 0.2, 4.2), Turn("1", 4.2, 10.0)]
    assert diarization_errors(REFERENCE, late).rate == pytest.approx((0.2 + 0.2) / 10)  # 0.2 s missed, 0.2 s confused


def test_turns_of_one_speaker_that_overlap_count_once() -> None:
    reference = [Turn("anna", 0.0, 3.0), Turn("anna", 2.0, 4.0)]
    assert diarization_errors(reference, [Turn("0", 0.0, 4.0)]) == Errors(scored=4.0)


def test_recordings_add_up_and_silence_has_no_rate() -> None:
    total = diarization_errors(REFERENCE, []) + diarization_errors(REFERENCE, [Turn("0", 0.0, 10.0)])
    assert total.rate == pytest.approx(14 / 20)
    with pytest.raises(UserError, match="no speech to score"):
        _ = diarization_errors([], [Turn("0", 0.0, 1.0)]).rate


def test_frames_above_the_threshold_become_turns() -> None:
    frames = np.array([[0.1, 0.6], [0.8, 0.6], [0.8, 0.2], [0.1, 0.6]])
    assert turns_of(frames, 0.5, 0.5) == [Turn("0", 0.5, 1.5), Turn("1", 0.0, 1.0), Turn("1", 1.5, 2.0)]


def test_the_median_filter_is_scipys() -> None:
    from scipy.signal import medfilt

    frames = np.random.default_rng(0).random((60, 2))
    smoothed = medfilt((frames > 0.4).astype(float), (11, 1))
    assert turns_of(frames, 0.02, 0.4, median=11) == turns_of(smoothed, 0.02, 0.5)
    assert len(turns_of(frames, 0.02, 0.4, median=11)) < len(turns_of(frames, 0.02, 0.4))


def test_a_run_is_scored_at_ten_settings(tmp_path: Path) -> None:
    rttm = tmp_path / "rttm"
    rttm.write_text("SPEAKER mix 1 0.00 0.20 <NA> <NA> anna <NA>\nSPEAKER mix 1 0.20 0.20 <NA> <NA> bert <NA>\n")
    (tmp_path / "frame_shift").write_text("160\n")
    with pytest.raises(UserError, match=r"mix\.h5: no prediction"):
        der.score_run(tmp_path, rttm)
    (tmp_path / "scoring/predictions").mkdir(parents=True)
    heard = np.full((40, 2), 0.05)
    heard[:20, 1] = heard[20:, 0] = 0.65
    with h5py.File(tmp_path / "scoring/predictions/mix.h5", "w") as file:
        file["T_hat"] = heard
    rates = der.score_run(tmp_path, rttm)
    assert len(rates) == 10
    assert rates["0.5/1"] == 0.0 and rates["0.7/1"] == 1.0
