"""Published rows: complete, with a source, and in agreement with the scores that their sources print."""

from __future__ import annotations

import pytest

from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED, PublishedModel, smallest_of_their_score


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_a_row_gives_the_score_that_its_source_prints(model: PublishedModel) -> None:
    assert 0 <= model.score < 1200
    if model.published is not None:  # STaRHuBERT's table rounds the rows of 100 h: 819 printed, 820.6 by the row
        assert model.score == pytest.approx(model.published, abs=2 if "100 h" in model.name else 1)


def test_every_row_names_its_source_and_no_name_comes_twice() -> None:
    assert all(model.source.link.startswith("https://") and model.source.words for model in PUBLISHED)
    assert len({model.name for model in PUBLISHED}) == len(PUBLISHED) >= 40
    assert [model.score for model in PUBLISHED] == sorted((model.score for model in PUBLISHED), reverse=True)


def test_a_picture_names_the_models_that_no_smaller_one_exceeds() -> None:
    named = smallest_of_their_score(PUBLISHED)
    assert {"STaRHuBERT", "DPWavLM", "WavLM Base+"} <= {model.name for model in named}
    for model in named:
        smaller = [one for one in PUBLISHED if one.million_parameters <= model.million_parameters and one is not model]
        assert all(one.score <= model.score for one in smaller)
