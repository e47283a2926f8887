from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.teacher import Teacher, trim_to_shorter
from s3prl_gendistiller.errors import UserError

WIDTH, LAYERS = 6, 3


class Encoder(nn.Module):
    """Three layers with dropout; in training it also drops layers, as a HuBERT does."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Linear(1, WIDTH)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.5)) for _ in range(LAYERS))
        self.dtypes: list[torch.dtype] = []

    def forward(self, wavs: Tensor) -> list[Tensor]:
        states = [self.front(wavs[:, ::320].unsqueeze(-1))]
        for layer in self.layers:
            if not (self.training and torch.rand(()) < 0.5):
                states.append(layer(states[-1]))
        self.dtypes.append(states[-1].dtype)
        return states


def encode(encoder: nn.Module, wavs: Tensor, lengths: Tensor, highest: int) -> list[Tensor]:
    return encoder(wavs)


def teacher(naming: str | None = "fairseq", encoder: nn.Module | None = None, prefix: str = "") -> Teacher:
    torch.manual_seed(0)
    encoder = Encoder() if encoder is None else encoder
    return Teacher(
        "stub", encoder, encode, num_layers=LAYERS, width=WIDTH, model_type="hubert", naming=naming, prefix=prefix
    )


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3200, generator=torch.Generator().manual_seed(0)), torch.tensor([3200, 1600])


def test_teacher_stays_eval_after_train() -> None:
    module = teacher()
    assert module.train() is module and module.train(True) is module
    assert not any(part.training for part in module.modules())


def test_teacher_stays_eval_inside_a_module_that_trains() -> None:
    inner = teacher()
    outer = nn.ModuleDict({"task": nn.ModuleDict({"teacher": inner, "student": nn.Linear(2, 2)})})
    outer.train()
    assert outer["task"]["student"].training
    assert not any(part.training for part in inner.modules())


def test_dropout_and_layerdrop_never_act_even_if_a_part_is_put_into_training() -> None:
    module = teacher()
    before = module(*batch(), [0, 1, 2, 3])
    module.encoder.train()
    for _ in range(5):
        assert torch.equal(module(*batch(), [0, 1, 2, 3]), before)


def test_no_gradient_reaches_or_passes_the_teacher() -> None:
    module = teacher()
    assert not any(parameter.requires_grad for parameter in module.parameters())
    wavs, lengths = batch()
    found = module(wavs.requires_grad_(True), lengths, [1])
    assert not found.requires_grad and found.grad_fn is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_teacher_computes_in_float32_under_autocast(dtype: torch.dtype) -> None:
    module = teacher()
    plain = module(*batch(), [3])
    with torch.autocast("cpu", dtype=dtype):
        found = module(*batch(), [3])
    assert found.dtype == torch.float32 and set(module.encoder.dtypes) == {torch.float32}
    assert torch.equal(found, plain)


def test_half_precision_samples_are_taken_as_float32() -> None:
    wavs, lengths = batch()
    assert teacher()(wavs.half(), lengths, [1]).dtype == torch.float32


def test_layers_come_in_the_order_asked_for() -> None:
    module = teacher()
    states = module.encoder(batch()[0])
    found = module(*batch(), [3, 0, 2])
    assert found.shape == (2, 3, 10, WIDTH)
    for index, layer in enumerate((3, 0, 2)):
        assert torch.equal(found[:, index], states[layer])


@pytest.mark.parametrize("layers", [[4], [1, 4], [-1], []])
def test_layers_that_are_not_there_are_refused(layers: list[int]) -> None:
    with pytest.raises(ValueError, match=r"0\.\.3 of stub"):
        teacher()(*batch(), layers)


def test_a_replica_encodes_with_its_own_weights() -> None:
    """DataParallel replaces the parts of a copy; what is closed over would stay on the first device."""
    module = teacher()
    copy = module._replicate_for_data_parallel()
    copy._modules["encoder"] = Encoder().eval()
    assert torch.equal(copy(*batch(), [3])[:, 0], copy.encoder(batch()[0])[3])
    assert not torch.equal(copy(*batch(), [3]), module(*batch(), [3]))


def test_the_encoder_state_has_the_names_without_what_stands_before_them() -> None:
    holder = nn.ModuleDict({"model": Encoder(), "extra": nn.Linear(2, 2)})
    state = teacher(encoder=holder, prefix="model.").encoder_state()
    assert set(state) == set(Encoder().state_dict())
    assert state["front.weight"] is not None and torch.equal(state["front.weight"], holder["model"].front.weight)


def test_unknown_names_are_no_source_of_a_warm_start() -> None:
    with pytest.raises(UserError, match="stub.*its weights have unknown names"):
        teacher(naming=None).encoder_state()


@pytest.mark.parametrize(("theirs", "ours"), [(10, 10), (10, 9), (8, 10), (10, 8)])
def test_teacher_and_student_are_trimmed_to_the_shorter(theirs: int, ours: int) -> None:
    targets, predictions = torch.randn(2, 3, theirs, 4), torch.randn(2, 3, ours, 4)
    mask = torch.ones(2, ours, dtype=torch.bool)
    cut = trim_to_shorter(targets, predictions, mask)
    frames = min(theirs, ours)
    assert [part.shape[-2] for part in cut[:2]] == [frames, frames] and cut[2].shape == (2, frames)
    assert torch.equal(cut[0], targets[:, :, :frames]) and torch.equal(cut[1], predictions[:, :, :frames])


@pytest.mark.parametrize(("theirs", "ours"), [(10, 13), (13, 10)])
def test_more_than_two_frames_apart_is_refused(theirs: int, ours: int) -> None:
    mask = torch.ones(1, ours, dtype=torch.bool)
    with pytest.raises(UserError, match=f"teacher gives {theirs} frames where the student gives {ours}"):
        trim_to_shorter(torch.zeros(1, 1, theirs, 4), torch.zeros(1, 1, ours, 4), mask)
