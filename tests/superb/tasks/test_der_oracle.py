"""Our DER beside that of pyannote.metrics, on conversations in which up to four people talk at once."""

from __future__ import annotations

import numpy as np
import pytest
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate

from s3prl_gendistiller.superb.tasks.der import Turn, diarization_errors

SECONDS = 20.0


def conversation(rng: np.random.Generator, names: str) -> list[Turn]:
    """Turns of each speaker that never overlap each other, and overlap those of the other speakers by chance."""
    turns = []
    for name in names[: rng.integers(1, len(names) + 1)]:
        edges = np.sort(rng.uniform(0, SECONDS, 2 * rng.integers(1, 8)))
        turns += [Turn(name, *edges[i : i + 2].tolist()) for i in range(0, len(edges), 2)]
    return turns


def annotation(turns: list[Turn]) -> Annotation:
    found = Annotation()
    for number, turn in enumerate(turns):
        found[Segment(turn.start_s, turn.end_s), number] = turn.speaker
    return found


@pytest.mark.filterwarnings("ignore:'uem' was approximated")
def test_der_is_that_of_pyannote_on_a_hundred_overlapping_conversations() -> None:
    rng, metric, errors = np.random.default_rng(0), DiarizationErrorRate(), []
    for _ in range(100):
        reference, hypothesis = conversation(rng, "abcd"), conversation(rng, "wxyz")
        ours = diarization_errors(reference, hypothesis)
        theirs = metric(annotation(reference), annotation(hypothesis), detailed=True)
        assert ours.missed == pytest.approx(theirs["missed detection"], abs=1e-9)
        assert ours.false_alarm == pytest.approx(theirs["false alarm"], abs=1e-9)
        assert ours.confused == pytest.approx(theirs["confusion"], abs=1e-9)
        assert ours.scored == pytest.approx(theirs["total"], abs=1e-9)
        assert ours.rate == pytest.approx(theirs["diarization error rate"], abs=1e-9)
        errors.append(ours)
    assert min(error.confused for error in errors) == 0.0 < max(error.confused for error in errors)
    assert sum(errors[1:], start=errors[0]).rate == pytest.approx(abs(metric), abs=1e-9)
