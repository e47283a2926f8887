"""What s3prl's Runner is asked to build, to select and to load."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import runner_checks


class Upstream(torch.nn.Module):
    """Three hidden states and a last one."""

    def forward(self, wavs: list[torch.Tensor]) -> dict[str, Any]:
        state = torch.zeros(1, 50, 2)
        return {"hidden_states": [state] * 3, "last_hidden_state": state}


def runner(**changes: object) -> SimpleNamespace:
    args = {
        **{"upstream": "hubert_base", "upstream_ckpt": None, "device": "cpu", "init_ckpt": "run/states-1.ckpt"},
        **{"upstream_feature_selection": "hidden_states", "upstream_layer_selection": None},
        **{"upstream_feature_normalize": False, **changes},
    }
    return SimpleNamespace(args=SimpleNamespace(**args), upstream=SimpleNamespace(model=Upstream()))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"upstream_layer_selection": 9}, r"-l: found 9, expected 0\.\.2, of the 3 hidden states"),
        ({"upstream_layer_selection": -4}, r"-l: found -4, expected 0\.\.2"),
        ({"upstream_feature_selection": "paper"}, "-s: found paper, expected one of hidden_states, last_hidden_state"),
        ({"upstream_feature_selection": "last_hidden_state", "upstream_layer_selection": 1}, r"expected 0\.\.0"),
        (
            {"upstream_feature_selection": "last_hidden_state", "upstream_feature_normalize": True},
            "found with one state",
        ),
    ],
)
def test_a_selection_that_s3prl_would_replace_or_drop_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        runner_checks.selecting(lambda runner: None)(runner(**changes))


@pytest.mark.parametrize("layer", [None, 0, 2, -1, -3])
def test_a_layer_that_is_there_is_selected_with_the_random_state_as_it_was(layer: int | None) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    select = runner_checks.selecting(lambda runner: "selected")
    assert select(runner(upstream_layer_selection=layer)) == "selected"
    assert torch.equal(torch.get_rng_state(), before)


def test_an_upstream_that_cannot_be_built_is_one_message_and_a_bug_of_ours_stays_one() -> None:
    def stock(runner: Any) -> None:
        raise URLError("no network")

    with pytest.raises(
        UserError, match=r"-u: hubert_base could not be downloaded or loaded \(URLError.*-u hubert_local -k"
    ):
        runner_checks.built(stock)(runner())
    with pytest.raises(URLError):
        runner_checks.built(stock)(runner(upstream="gendistiller_local"))
