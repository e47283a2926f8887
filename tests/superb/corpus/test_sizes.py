"""Published sizes and the amounts of speech that the plan counts on are the same numbers."""

from __future__ import annotations

import pytest

from s3prl_gendistiller.superb.corpus.sizes import Amount, Speech
from s3prl_gendistiller.superb.tasks import PRESETS, TASKS


@pytest.mark.parametrize("name", TASKS)
def test_a_task_reads_no_more_than_its_corpus_holds(name: str) -> None:
    task = TASKS[name]
    hours = sum(part.hours or 0.0 for part in task.corpus.parts.values())
    speech = task.speech_of("official")
    if hours:
        assert speech.whole_s / 3600 == pytest.approx(hours, rel=0.03)
    for preset in PRESETS:
        speech = task.speech_of(preset)
        assert 0 < speech.dev_s <= speech.whole_s and 0 < speech.test_s <= speech.whole_s
        assert speech.utterance_s > 0 if task.trained else speech.pairs > 0


def test_libri2mix_is_as_long_as_its_metadata_say() -> None:
    speech = TASKS["sd"].speech_of("official")
    assert (speech.dev_s, speech.test_s) == (pytest.approx(7.60 * 3600), pytest.approx(7.01 * 3600))
    assert speech.utterance_s == pytest.approx(14.6, abs=0.05)


def test_speech_of_three_parts_adds_up() -> None:
    speech = Speech.of(Amount(7_200, 2.0), Amount(5, 0.5), Amount(9, 1.0))
    assert speech == Speech(utterance_s=1.0, dev_s=1_800.0, test_s=3_600.0, whole_s=12_600.0)
