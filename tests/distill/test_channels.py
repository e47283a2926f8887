"""The choice of channels for a thin front end, and the warm start with it, for both students and both namings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.config import HUBERT_CONV_LAYERS
from s3prl_gendistiller.corpora.augment import at_16_khz
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.distill.channels import PROJECTION, choose_channels, gelu_moments, slice_channels
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.distill.warm_start import WarmStartReport, translate, warm_start, warm_start_distiller
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.shipped import shipped_folder
from tests.conftest import TINY, TINY_CONV, tiny_config
from tests.distill.test_warm_start import Audio, random_teacher
from tests.fairseq import fairseq_named

FRONT_END = {"front_end": True, "position": False}
ALL, SOME = (16,) * 7, (5, 7, 9, 16, 3, 8, 11)
Choice = Callable[[dict[str, Tensor], Sequence[int]], list[Tensor]]


def random_weights(mode: str = "group", channels: int = 8, width: int = 5) -> dict[str, Tensor]:
    """A teacher's weights from samples to projection, every channel alike but for chance."""
    torch.manual_seed(0)
    state, before = {}, 1
    for index, (_, kernel, _) in enumerate(HUBERT_CONV_LAYERS):
        layer = f"front_end.layers.{index}."
        state[f"{layer}conv.weight"] = torch.randn(channels, before, kernel) / (before * kernel) ** 0.5
        if mode == "layer" or index == 0:
            state[f"{layer}norm.weight"], state[f"{layer}norm.bias"] = torch.ones(channels), torch.zeros(channels)
        before = channels
    state |= {"feature_norm.weight": torch.ones(channels), "feature_norm.bias": torch.zeros(channels)}
    return state | {PROJECTION: torch.randn(width, channels), "feature_projection.bias": torch.zeros(width)}


def named(index: int, part: str) -> str:
    return f"front_end.layers.{index}.{part}"


def test_the_moments_behind_a_gelu_are_those_of_a_large_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, variance = torch.tensor([-2.0, 0.0, 0.5, 3.0]).double(), torch.tensor([0.25, 1.0, 9.0, 0.0]).double()
    sample = torch.randn(400_000, 1, generator=generator, dtype=torch.float64) * variance.sqrt() + mean
    values = nn.functional.gelu(sample)
    found = gelu_moments(mean, variance)
    assert torch.allclose(found[0], values.mean(0), atol=2e-2)
    assert torch.allclose(found[1].sqrt(), values.std(0), atol=2e-2)


@pytest.mark.parametrize("mode", ["group", "layer"])
def test_channels_that_are_written_and_read_strongly_are_kept(mode: str) -> None:
    state = random_weights(mode)
    planted = [torch.tensor(places) for places in ([1, 6], [0, 3], [2, 5], [4, 7], [3, 4], [0, 7], [2, 6])]
    for index, places in enumerate(planted):
        state[named(index, "norm.weight" if named(index, "norm.weight") in state else "conv.weight")][places] *= 4
        if index + 1 < len(planted):
            state[named(index + 1, "conv.weight")][:, places] *= 4
    state[PROJECTION][:, planted[-1]] *= 4
    assert all(map(torch.equal, choose_channels(state, [2] * 7), planted))
    order = torch.tensor([3, 1, 7, 0, 5, 2, 6, 4])  # the same teacher with its channels in another order
    moved = choose_channels(slice_channels(state, [order] * 7), [2] * 7)
    assert all(map(torch.equal, [order[found].sort().values for found in moved], planted))


@pytest.mark.parametrize("mode", ["group", "layer"])
def test_a_channel_that_nobody_reads_or_that_never_changes_is_dropped(mode: str) -> None:
    state = random_weights(mode)
    state[named(2, "conv.weight")][3] *= 100
    state[named(3, "conv.weight")][:, 3] = 0.0  # written strongly, and read by nothing
    state[named(0, "norm.weight")][5] = 0.0
    state[named(0, "norm.bias")][5] = 3.0  # large, and always the same
    state["feature_norm.weight"][1] = 0.0
    kept = choose_channels(state, [7] * 7)
    dropped = {index: {*range(8)} - {*kept[index].tolist()} for index in (0, 2, 6)}
    assert dropped == {0: {5}, 2: {3}, 6: {1}}


def test_the_size_of_a_kernel_before_the_group_norm_means_nothing() -> None:
    state = random_weights()
    expected = choose_channels(state, [3] * 7)
    state[named(0, "conv.weight")] *= torch.logspace(-3, 3, 8).view(-1, 1, 1)
    assert all(map(torch.equal, choose_channels(state, [3] * 7), expected))


def model(kind: str, channels: Sequence[int], seed: int = 0, front_end: str = "thin") -> nn.Module:
    """What a warm start fills: a GenDistiller, or s3prl's DistillerModel."""
    torch.manual_seed(seed)
    thin = {"front_end": "thin", "thin_channels": channels} if front_end == "thin" else {}
    if kind == "gendistiller":
        return GenDistiller(tiny_config(**thin, extractor_mode="default"), 2).eval()
    sizes = {**TINY, "extractor_conv_feature_layers": [list(shape) for shape in TINY_CONV]}
    sizes = {**sizes, **thin, "feature_norm": True, "extractor_mode": "default"}
    if thin:
        del sizes["extractor_conv_feature_layers"]
    config = {"teacher": {"folder": "unused"}, "student": sizes, "distill": {"target_layers": [1, 3]}}
    return build_student(config, task="distilhubert").eval().stored_module


def start(kind: str, student: nn.Module, state: dict[str, Tensor], naming: str = "transformers") -> WarmStartReport:
    if kind == "gendistiller":
        return warm_start(student, state, naming, **FRONT_END, layer=None)
    return warm_start_distiller(student, state, naming, **FRONT_END, layers=0)


def frames(kind: str, student: nn.Module, wavs: Audio) -> Tensor:
    """The projected frames of a student, without its position."""
    with torch.no_grad():
        if kind == "gendistiller":
            features, _ = student.front_end(*wavs)
            return student.feature_projection(student.feature_norm(features))
        samples = torch.arange(wavs[0].shape[1]) < wavs[1].unsqueeze(1)
        return student.post_extract_proj(student.forward_feature(wavs[0], samples.float())[0])


@pytest.mark.parametrize("naming", ["transformers", "fairseq"])
@pytest.mark.parametrize("kind", ["gendistiller", "distilhubert"])
def test_as_many_channels_as_the_teacher_has_give_the_plain_copy(
    kind: str, naming: str, tmp_path: Path, wavs: Audio
) -> None:
    state = dict(random_teacher(tmp_path / "t").encoder_state())
    given = state if naming == "transformers" else fairseq_named(state, "group")
    thin, plain = model(kind, ALL), model(kind, ALL, seed=1, front_end="conv")
    report, expected = start(kind, thin, given, naming), start(kind, plain, given, naming)
    assert report.kept == ((16, 16),) * 7 and expected.kept == () and report.left_out == report.untouched == ()
    assert len(report.copied) == len(expected.copied)
    found, plainly = (
        {ours: value for ours, (_, value) in translate(module.state_dict(), "fairseq").items()}
        for module in (thin, plain)
    )
    for ours in found:
        if ours.startswith(("front_end", "feature_")):
            assert torch.equal(found[ours], plainly[ours]), ours
    whole = (wavs[0], torch.full((3,), wavs[0].shape[1]))
    assert torch.allclose(frames(kind, thin, whole), frames(kind, plain, whole), atol=1e-5)


@pytest.mark.parametrize("extractor", ["group", "layer"])
@pytest.mark.parametrize("kind", ["gendistiller", "distilhubert"])
def test_kept_rows_and_columns_are_the_teachers_and_both_namings_agree(
    kind: str, extractor: str, tmp_path: Path
) -> None:
    state = dict(random_teacher(tmp_path / "t", feat_extract_norm=extractor).encoder_state())
    mode = {"group": "default", "layer": "layer_norm"}[extractor]
    one, other = (model(kind, SOME, seed) for seed in (0, 1))
    if extractor == "layer":
        thin = {"front_end": "thin", "thin_channels": SOME, "extractor_mode": mode}
        one, other = (GenDistiller(tiny_config(**thin), 2) for _ in range(2))
        kind = "gendistiller"
    first = start(kind, one, state)
    second = start(kind, other, fairseq_named(state, extractor), "fairseq")
    assert first == second and first.kept == tuple((count, 16) for count in SOME)
    assert "kept 5 of 16, 7 of 16, 9 of 16, 16 of 16, 3 of 16, 8 of 16, 11 of 16 channels" in first.summary()
    teacher = {ours: value for ours, (_, value) in translate(state, "transformers").items()}
    kept = choose_channels(teacher, SOME)
    found = {ours: value for ours, (_, value) in translate(one.state_dict(), "fairseq").items()}
    again = {ours: value for ours, (_, value) in translate(other.state_dict(), "fairseq").items()}
    before = torch.tensor([0])
    for index, rows in enumerate(kept):
        assert torch.equal(found[named(index, "conv.weight")], teacher[named(index, "conv.weight")][rows][:, before])
        before = rows
    assert torch.equal(found[named(0, "norm.bias")], teacher[named(0, "norm.bias")][kept[0]])
    assert torch.equal(found["feature_norm.weight"], teacher["feature_norm.weight"][kept[-1]])
    assert torch.equal(found[PROJECTION], teacher[PROJECTION][:, kept[-1]])
    assert torch.equal(found["feature_projection.bias"], teacher["feature_projection.bias"])
    assert all(torch.equal(found[ours], again[ours]) for ours in found if ours.startswith(("front_end", "feature_")))


@pytest.mark.parametrize("kind", ["gendistiller", "distilhubert"])
def test_a_teacher_with_fewer_channels_is_refused_and_nothing_is_copied(kind: str, tmp_path: Path) -> None:
    state = dict(random_teacher(tmp_path / "t").encoder_state())
    student = model(kind, (*ALL[:-1], 17))
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with pytest.raises(UserError, match=r"is \(17, 16, 2\), the teacher's .* is \(16, 16, 2\); expected the same"):
        start(kind, student, state)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def strongest(teacher: dict[str, Tensor], counts: Sequence[int]) -> list[Tensor]:
    """For comparison: the largest products of the norms of a channel's own kernel and of the kernels that read it."""
    kernels = [teacher[named(index, "conv.weight")] for index in range(7)]
    readers = [*kernels[1:], (teacher[PROJECTION] * teacher["feature_norm.weight"]).unsqueeze(-1)]
    sizes = [
        own.flatten(1).norm(dim=1) * reader.transpose(0, 1).flatten(1).norm(dim=1)
        for own, reader in zip(kernels, readers, strict=True)
    ]
    return [size.topk(count).indices.sort().values for size, count in zip(sizes, counts, strict=True)]


def spoken(*texts: str) -> Audio:
    """Synthetic speech, (B, S) zero padded, and its lengths."""
    speeches = [Espeak().speak(text, "en-us") for text in texts]
    wavs = [torch.from_numpy(at_16_khz(speech.wav, speech.rate_hz)) / 2**15 for speech in speeches]
    return nn.utils.rnn.pad_sequence(wavs, batch_first=True), torch.tensor([len(wav) for wav in wavs])


def test_the_chosen_channels_of_the_embedded_teacher_are_nearer_to_it_than_the_strongest() -> None:
    teacher = load_transformers_teacher(shipped_folder("teachers") / "hubert_guided")
    weights = {ours: value for ours, (_, value) in translate(teacher.encoder_state(), "transformers").items()}
    counts, wavs = (48, 80, 80, 80, 80, 108, 108), spoken("the red fox went home", "eight blue ships")
    sizes = {"encoder_embed_dim": 256, "encoder_ffn_embed_dim": 8, "conv_pos": 8, "extractor_mode": "default"}

    def projected(channels: Sequence[int], choice: Choice | None) -> Tensor:
        student = GenDistiller(tiny_config(**sizes, front_end="thin", thin_channels=channels), 1).eval()
        if choice is not None:
            student.load_state_dict(slice_channels(weights, choice(weights, channels)), strict=False)
            student.feature_projection.bias.data.copy_(weights["feature_projection.bias"])
        return frames("gendistiller", student, wavs)

    expected = projected((128,) * 7, choose_channels)

    def distance(choice: Choice | None) -> float:
        return float((projected(counts, choice) - expected).abs().mean() / expected.abs().mean())

    chosen = distance(choose_channels)
    assert chosen < 0.9 * distance(strongest)
    assert chosen < 0.9 * distance(None)  # random weights
