"""An output layer that is a small network, and students whose layers are the states before the output layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.output_layer import MlpOutput, build_output_layer
from s3prl_gendistiller.superb.cost.counted_models import AsUpstream
from s3prl_gendistiller.superb.cost.multiply_adds import count
from tests.conftest import tiny_config

Audio = tuple[Tensor, Tensor]
WIDTH, FRAMES = 24, 12
WAV = [torch.randn(4_000, generator=torch.Generator().manual_seed(0))]
MLP = 5 * WIDTH * WIDTH  # weights without bias
MLP_PARAMETERS = MLP + (1 + 2 + 1) * WIDTH


def student(form: str = "echo", steps: int = 3, exposed: str = "hidden", **changes: object) -> GenDistiller:
    torch.manual_seed(0)
    options = {"output_form": "mlp", "history_init": "random", "output_init": "random", **changes}
    return GenDistiller(tiny_config(history_input=form, exposed_layer=exposed, **options), steps).eval()


def test_the_network_is_not_linear_and_starts_where_a_linear_layer_starts() -> None:
    torch.manual_seed(0)
    random, identity = (build_output_layer("mlp", init, WIDTH) for init in ("random", "identity"))
    x = torch.randn(5, WIDTH)
    zero = torch.zeros(1, WIDTH)
    assert not torch.allclose(random(x) + random(-x), 2 * random(zero), atol=1e-3)  # equal for an affine map
    assert torch.equal(identity(x), x)
    identity(x).square().sum().backward()
    assert isinstance(identity, MlpOutput) and identity.narrowed.weight.grad.abs().sum() > 0
    assert sum(parameter.numel() for parameter in random.parameters()) == MLP_PARAMETERS


@pytest.mark.parametrize("form", ["echo", "recur", "carry", "project"])
@pytest.mark.parametrize("extra", [{}, {"layer_norm_first": True}, {"history": "all"}, {"output_form": "linear"}])
def test_the_layers_are_the_states_before_and_the_predictions_are_as_ever(form: str, extra: dict, wavs: Audio) -> None:
    hidden, generated = (student(form, exposed=exposed, **extra)(*wavs) for exposed in ("hidden", "generated"))
    model = student(form, **extra)
    assert torch.equal(hidden.predictions, generated.predictions)
    assert len(hidden.hidden_states) == len(generated.hidden_states) == 4
    assert torch.equal(hidden.hidden_states[0], generated.hidden_states[0])
    assert model.output is not None
    for state, prediction in zip(hidden.hidden_states[1:], hidden.predictions.unbind(1), strict=True):
        assert torch.equal(model.output(state), prediction)
        assert not torch.allclose(state, prediction, atol=1e-3)


@pytest.mark.parametrize("form", ["project", "concat"])
def test_teacher_forcing_in_one_pass_gives_the_states_before_too(form: str, wavs: Audio) -> None:
    model, teacher = student(form), torch.randn(3, 3, 24, WIDTH)
    at_once = model(*wavs, teacher_layers=teacher)
    model._known_ahead = lambda *given: False
    one_by_one = model(*wavs, teacher_layers=teacher)
    for found, expected in zip(at_once.hidden_states, one_by_one.hidden_states, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(at_once.predictions, one_by_one.predictions, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("form", ["echo", "carry"])
def test_gradients_reach_every_parameter(form: str, wavs: Audio) -> None:
    model = student(form).train()
    model(*wavs).predictions.square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("form", ["echo", "recur", "carry", "project"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_use_gives_the_same_layers_and_no_predictions(form: str, steps: int, wavs: Audio) -> None:
    expected, model = student(form).generate(*wavs, steps=steps), student(form).for_use()
    found = model.generate(*wavs, steps=steps)
    assert (model.output is None) == (form in ("echo", "recur"))
    for state, wanted in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert torch.equal(state, wanted)
    with pytest.raises(ValueError, match=r"left out of a student in use; load_student\(\.\.\., whole=True\) keeps"):
        _ = found.predictions


@pytest.mark.parametrize(
    ("form", "exposed", "runs"),  # runs: of the output layer for one, two and three layers
    [("echo", "hidden", (0, 0, 0)), ("carry", "hidden", (0, 1, 2)), ("carry", "generated", (1, 2, 3))],
)
def test_parameters_and_multiply_adds_are_those_of_use(form: str, exposed: str, runs: tuple[int, ...]) -> None:
    bare = student(form, exposed="generated", output_layer=False, output_form="linear").for_use()
    used = student(form, exposed=exposed).for_use()
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (used, bare)]
    assert sizes[0] - sizes[1] == (MLP_PARAMETERS if any(runs) else 0)
    for steps, expected in enumerate(runs, start=1):
        counts = [count(AsUpstream(model, steps=steps).eval(), WAV).multiply_adds for model in (used, bare)]
        assert counts[0] - counts[1] == expected * FRAMES * MLP


def test_one_step_has_no_history_and_no_output_layer_in_use() -> None:
    assert student("carry", steps=1).for_use().output is None


def test_a_student_whose_layers_are_generated_stays_whole_in_use(wavs: Audio) -> None:
    model = student("echo", exposed="generated")
    expected = model.generate(*wavs).predictions
    assert torch.equal(model.for_use().generate(*wavs).predictions, expected)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("output_form", ["linear", "mlp"])
def test_every_layer_is_predicted_from_the_last_state(output_form: str, steps: int, wavs: Audio) -> None:
    model = student("recur", predicted_from="last", output_form=output_form)
    found = model(*wavs, steps=steps)
    assert model.output is None and model.last_heads is not None and len(found.prediction_sets) == 1
    for head, predicted in zip(model.last_heads[:steps], found.predictions.unbind(1), strict=True):
        assert torch.equal(head(found.hidden_states[-1]), predicted)


@pytest.mark.parametrize("form", ["echo", "carry"])
def test_every_layer_is_predicted_from_its_own_step_and_again_from_the_last(form: str, wavs: Audio) -> None:
    alone, model = student(form)(*wavs), student(form, predicted_from="both")
    found = model(*wavs)
    own, again = found.prediction_sets
    assert torch.equal(own, alone.predictions)  # the heads of the last state are drawn last
    assert model.last_heads is not None
    for head, predicted in zip(model.last_heads, again.unbind(1), strict=True):
        assert torch.equal(head(found.hidden_states[-1]), predicted)


@pytest.mark.parametrize(
    ("form", "predicted_from"), [("echo", "last"), ("recur", "last"), ("echo", "both"), ("carry", "both")]
)
def test_heads_of_the_last_state_are_trained_and_left_out_in_use(form: str, predicted_from: str, wavs: Audio) -> None:
    model = student(form, predicted_from=predicted_from).train()
    sum(each.square().mean() for each in model(*wavs).prediction_sets).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    expected = model.generate(*wavs).hidden_states
    used = model.for_use()
    assert all(torch.equal(one, other) for one, other in zip(used.generate(*wavs).hidden_states, expected, strict=True))
    bare = student(form).for_use()
    assert sum(p.numel() for p in used.parameters()) == sum(p.numel() for p in bare.parameters())
