"""Feedback through a posterior over units: what it adds, when it begins to act, and who trains it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.config_objectives import LayerUnitsConfig
from s3prl_gendistiller.distill.objectives.layer_units import LayerUnits
from s3prl_gendistiller.distill.units import UnitHead
from s3prl_gendistiller.errors import ConfigError, UserError
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.unit_posterior import UnitPosterior
from s3prl_gendistiller.student_kinds import read_model_config
from tests.conftest import tiny_config
from tests.distill.objectives.test_layer_units import KEPT, WIDTH, randn, units

V = KEPT


def student(**changes: object) -> GenDistiller:
    torch.manual_seed(0)
    given = {"history_input": "posterior", "history_units": V, "history_init": "random", **changes}
    return GenDistiller(tiny_config(**given), 3).eval()


def test_the_mean_embedding_is_that_of_the_posterior() -> None:
    torch.manual_seed(0)
    posterior, h = UnitPosterior(6, V), torch.randn(2, 5, 6)
    frames = posterior.projection(h)
    cosines = torch.nn.functional.cosine_similarity(frames[..., None, :], posterior.embeddings, dim=-1)
    torch.testing.assert_close(posterior(h), cosines / 0.1)
    expected = torch.einsum("btv,vd->btd", torch.softmax(cosines / 0.1, -1), posterior.embeddings)
    torch.testing.assert_close(posterior.mean_embedding(h), expected)
    half = posterior.bfloat16().mean_embedding(h.bfloat16())
    assert half.dtype == torch.bfloat16


def test_a_posterior_at_the_start_is_plain_recurrence(wavs: tuple[Tensor, Tensor]) -> None:
    model, blind = student(history_init="zero"), student(history_input="recur", history_units=0)
    blind.load_state_dict({n: v for n, v in model.state_dict().items() if not n.startswith(("history", "unit_"))})
    assert torch.equal(model(*wavs).predictions, blind(*wavs).predictions)
    assert blind.unit_heads is None and len(model.unit_heads) == 2


def test_later_steps_read_the_posterior_of_the_layer_before_and_no_more_of_it(wavs: tuple[Tensor, Tensor]) -> None:
    model = student()
    free = model(*wavs).predictions
    assert torch.equal(model(*wavs, teacher_layers=free).predictions, free)
    given = torch.randn_like(free)
    forced = model(*wavs, teacher_layers=given).predictions
    assert torch.equal(forced[:, 0], free[:, 0]) and not torch.allclose(forced[:, 1], free[:, 1])
    with torch.no_grad():  # what the posterior cannot see does not pass
        for posterior in model.unit_heads:
            posterior.projection.weight[:, 0] = 0
    given[..., 0] += 100.0
    seen = model(*wavs, teacher_layers=given).predictions
    given[..., 0] -= 55.0
    assert torch.equal(model(*wavs, teacher_layers=given).predictions, seen)


def test_gradients_reach_every_parameter_and_parts_are_counted(wavs: tuple[Tensor, Tensor]) -> None:
    model = student(silent_passes=1, step_rank=2).train()
    for name, parameter in model.named_parameters():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter)
    model(*wavs).predictions.square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert model.count_parameters()["unit_posteriors"] == 2 * (24 * 24 + 24 + V * 24)


def test_layer_units_trains_the_students_own_heads_and_a_head_for_the_last_layer() -> None:
    torch.manual_seed(0)
    posterior = UnitPosterior(WIDTH, V)
    module = LayerUnits(LayerUnitsConfig(units="x"), [units(2), units(5)], WIDTH, [posterior])
    assert module.heads[0] is posterior and isinstance(module.heads[1], UnitHead)
    states = randn(2, 2, 4, WIDTH, seed=3)
    terms = module(states, states, torch.ones(2, 4, dtype=torch.bool))
    terms["units_layer2"][0].backward()
    assert posterior.embeddings.grad.abs().sum() > 0 and module.heads[1].final_proj.weight.grad is None


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"history_input": "posterior"}, "found 0 with history_input posterior, expected the number of units"),
        ({"history_units": 7}, "found 7 with history_input carry, expected 0; only posterior"),
    ],
)
def test_a_number_of_units_that_does_not_fit_the_form_is_named(student: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=f"student.history_units: {said}"):
        read_model_config("gendistiller", {"teacher": {"folder": "x"}, "student": student})


def test_another_number_of_units_is_named(tmp_path: Path) -> None:
    other = replace(units(2), kept=units(2).kept[:5], nearest=units(2).nearest.clamp(max=4))
    with pytest.raises(UserError, match=rf"student.history_units: found {V}, expected 5, the kept units of layer 2"):
        LayerUnits(LayerUnitsConfig(units="x"), [other, units(5)], WIDTH, [UnitPosterior(WIDTH, V)])
