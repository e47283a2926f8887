from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3prl_gendistiller.models.encoder_layer import EncoderLayer
from s3prl_gendistiller.models.gendistiller import GenDistiller
from tests.conftest import tiny_config

CONTROLS = ("recur", "echo")
FORMS = ("add", "project", "concat", "carry", *CONTROLS)
GOLDEN = [-0.5946, -0.6185, -0.8913, -0.9039, 0.8113]
SKIPS = ("none", "history", "layer", "features")


def student(steps: int = 3, **changes: object) -> GenDistiller:
    """With the history at work, which by default comes in only by training."""
    torch.manual_seed(0)
    return GenDistiller(tiny_config(**{"history_init": "random", **changes}), steps).eval()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("skip", SKIPS)
def test_every_form_gives_one_state_per_step(form: str, skip: str, wavs: tuple[Tensor, Tensor]) -> None:
    output = student(history_input=form, skip_connection=skip).generate(*wavs)
    assert [tuple(state.shape) for state in output.hidden_states] == [(3, 24, 24)] * 4
    assert output.predictions.shape == (3, 3, 24, 24)
    assert output.frame_mask.sum(1).tolist() == [24, 15, 9]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("extra", [{}, {"position_bias": "gated"}, {"layer_norm_first": True}, {"feature_norm": True}])
def test_free_running_equals_teacher_forced_with_its_own_outputs(
    form: str, extra: dict, wavs: tuple[Tensor, Tensor]
) -> None:
    model = student(history_input=form, **extra)
    free = model(*wavs)
    forced = model(*wavs, teacher_layers=free.predictions)
    assert torch.equal(free.predictions, forced.predictions)


@pytest.mark.parametrize("form", ["add", "project", "concat", "carry"])
def test_the_teachers_layer_changes_later_steps_only(form: str, wavs: tuple[Tensor, Tensor]) -> None:
    model = student(history_input=form)
    free = model(*wavs).predictions
    changed = free.clone()
    changed[:, 1] += 1.0
    forced = model(*wavs, teacher_layers=changed).predictions
    assert torch.equal(free[:, :2], forced[:, :2])
    assert not torch.allclose(free[:, 2], forced[:, 2])


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_is_blind_to_generated_history(control: str, wavs: tuple[Tensor, Tensor]) -> None:
    model = student(history_input=control)
    free = model(*wavs).predictions
    assert torch.equal(free, model(*wavs, teacher_layers=free + 1.0).predictions)


def test_an_identity_output_first_generates_what_the_layer_gives(wavs: tuple[Tensor, Tensor]) -> None:
    model, bare = student(output_init="identity"), student(output_layer=False)
    bare.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("output.")})
    torch.testing.assert_close(model(*wavs).predictions, bare(*wavs).predictions)


def test_history_that_starts_at_zero_is_recurrence_at_first(wavs: tuple[Tensor, Tensor]) -> None:
    model, blind = student(history_init="zero"), student(history_input="recur")
    blind.load_state_dict({name: value for name, value in model.state_dict().items() if "history" not in name})
    assert torch.equal(model(*wavs).predictions, blind(*wavs).predictions)
    model.train()(*wavs).predictions[:, 1:].sum().backward()
    assert model.history_projection.weight.grad.abs().sum() > 0


def test_echo_is_carry_with_the_hidden_state_in_place_of_the_generated_layer(wavs: tuple[Tensor, Tensor]) -> None:
    carry, echo = (student(history_input=form, output_init="random") for form in ("carry", "echo"))
    echo.load_state_dict(carry.state_dict())  # the same parameters by name and shape
    assert not torch.allclose(carry(*wavs).predictions[:, 1], echo(*wavs).predictions[:, 1])
    for model in (carry, echo):
        model.output = None  # a generated layer is now the hidden state itself
    assert torch.equal(carry(*wavs).predictions, echo(*wavs).predictions)


def test_concatenated_history_that_starts_at_zero_lets_z_pass(wavs: tuple[Tensor, Tensor]) -> None:
    model = student(history_input="concat", history_init="zero", step_embedding=False, output_init="random")
    output = model(*wavs)
    assert torch.equal(output.predictions[:, 1], output.predictions[:, 0])  # both see z alone
    with torch.no_grad():
        model.history_projection.weight[:, 24:] += 0.5
    assert not torch.allclose(model(*wavs).predictions[:, 1], output.predictions[:, 1])


def test_norms_by_step_start_as_the_shared_ones_and_change_their_own_step_on(wavs: tuple[Tensor, Tensor]) -> None:
    model, bare = student(), student(step_norms=False)
    bare.load_state_dict({name: value for name, value in model.state_dict().items() if name != "step_norms"})
    before = bare(*wavs).predictions
    assert torch.equal(model(*wavs).predictions, before)
    with torch.no_grad():
        model.step_norms[1, 1, 0] += 0.5  # the second prediction: gain after the feed-forward network
    after = model(*wavs).predictions
    assert torch.equal(after[:, 0], before[:, 0])
    assert all((after[:, step] - before[:, step]).abs().max() > 0.01 for step in (1, 2))


@pytest.mark.parametrize("norm_first", [False, True])
def test_modulated_norms_are_scaled_and_shifted(norm_first: bool) -> None:
    torch.manual_seed(0)
    layer = EncoderLayer(8, 16, 2, norm_first=norm_first).eval()
    x, modulation = torch.randn(2, 5, 8), torch.randn(2, 2, 8)
    found, _ = layer(x, None, modulation)
    with torch.no_grad():
        for norm, (gain, shift) in zip((layer.attention_norm, layer.ffn_norm), modulation, strict=True):
            norm.weight.copy_(1 + gain)
            norm.bias.copy_(shift)
    torch.testing.assert_close(found, layer(x, None)[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [1, 2])
def test_fewer_steps_give_the_first_layers(form: str, steps: int, wavs: tuple[Tensor, Tensor]) -> None:
    model = student(history_input=form)
    short, full = model.generate(*wavs, steps=steps), model.generate(*wavs)
    assert len(short.hidden_states) == steps + 1
    for early, state in zip(short.hidden_states, full.hidden_states, strict=False):
        assert torch.equal(early, state)


@pytest.mark.parametrize("steps", [0, 4])
def test_steps_outside_the_student_are_refused(steps: int, wavs: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match=rf"found {steps}, expected 1\.\.3"):
        student().generate(*wavs, steps=steps)


@pytest.mark.parametrize("extractor", ["default", "layer_norm"])
@pytest.mark.parametrize("bias", ["none", "gated"])
def test_a_padded_batch_equals_its_items_alone(bias: str, extractor: str, wavs: tuple[Tensor, Tensor]) -> None:
    model = student(position_bias=bias, extractor_mode=extractor)
    padded, lengths = wavs
    together = model.generate(padded, lengths).predictions
    for index, length in enumerate(lengths.tolist()):
        alone = model.generate(padded[index : index + 1, :length]).predictions[0]
        torch.testing.assert_close(together[index, :, : alone.shape[1]], alone, atol=1e-5, rtol=1e-4)


def test_what_stands_in_the_padding_does_not_matter(wavs: tuple[Tensor, Tensor]) -> None:
    padded, lengths = wavs
    noisy = torch.where(torch.arange(8000) < lengths.unsqueeze(1), padded, 5.0)
    model = student()
    clean, dirty = model.generate(padded, lengths), model.generate(noisy, lengths)
    mask = clean.frame_mask[:, None, :, None].expand_as(clean.predictions)
    torch.testing.assert_close(clean.predictions[mask], dirty.predictions[mask], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_every_parameter(form: str, wavs: tuple[Tensor, Tensor]) -> None:
    model = student(history_input=form, feature_norm=True, position_bias="gated").train()
    model(*wavs).predictions.square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_the_default_form_with_its_history_in_numbers(wavs: tuple[Tensor, Tensor]) -> None:
    """Golden: a change here changes every trained checkpoint."""
    states = student().generate(*wavs).hidden_states
    found = [round(state[0, 3, 5].item(), 4) for state in states] + [round(states[-1][0].abs().mean().item(), 4)]
    assert found == pytest.approx(GOLDEN, abs=2e-4)


def test_dropout_is_off_and_the_mode_is_kept_while_generating(wavs: tuple[Tensor, Tensor]) -> None:
    model = student(dropout=0.5).train()
    assert torch.equal(model.generate(*wavs).predictions, model.generate(*wavs).predictions)
    assert model.training


def test_scheduled_feedback_mixes_whole_utterances(wavs: tuple[Tensor, Tensor]) -> None:
    model = student(history_input="add", dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    teacher = torch.randn(3, 3, 24, 24)
    free, forced = model(*wavs).predictions[:, 1], model(*wavs, teacher_layers=teacher).predictions[:, 1]
    torch.manual_seed(1)
    mixed = model(*wavs, teacher_layers=teacher, teacher_probability=0.5).predictions[:, 1]
    kinds = []
    for index in range(3):
        is_free, is_forced = (torch.allclose(mixed[index], other[index], atol=1e-6) for other in (free, forced))
        assert is_free != is_forced
        kinds.append(is_free)
    assert set(kinds) == {True, False}


def test_a_teacher_two_frames_shorter_is_accepted(wavs: tuple[Tensor, Tensor]) -> None:
    model = student()
    assert model(*wavs, teacher_layers=torch.randn(3, 3, 22, 24)).predictions.shape == (3, 3, 24, 24)
