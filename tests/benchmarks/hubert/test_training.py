from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from hubert import training, units
from hubert.batches import Speech
from hubert.codebook import Codebook
from hubert.folder import write_hubert_folder
from hubert.model import MaskedUnitModel
from hubert.recipe import HubertRecipe, RoundConfig
from hubert.training import pretrain, round_folder
from s3prl_gendistiller.distill.metrics import read_metrics
from s3prl_gendistiller.distill.units import UnitHead
from s3prl_gendistiller.errors import UserError
from tests.benchmarks.hubert.conftest import TINY


@pytest.fixture(scope="module")
def finished(speech: Speech, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretraining") / "out"
    pretrain(TINY, speech, out, progress=False)
    return out


def load_round(out: Path, recipe: HubertRecipe, number: int) -> MaskedUnitModel:
    """The finished model of a round."""
    model = MaskedUnitModel(recipe, recipe.rounds[number - 1].clusters)
    model.load_state_dict(torch.load(round_folder(out, number) / training.WEIGHTS, weights_only=True))
    return model.eval()


def test_both_rounds_leave_weights_units_and_metrics(finished: Path, speech: Speech) -> None:
    for number, clusters in ((1, 5), (2, 4)):
        folder = finished / f"round{number}"
        assert sorted(path.name for path in folder.iterdir()) == [
            "codebook.safetensors",
            "metrics.jsonl",
            "units.npz",
            "weights.ckpt",
        ]
        assert np.load(folder / "units.npz")["units"].max() < clusters
        assert list(read_metrics(folder, "train")) == ([2, 4, 6] if number == 1 else [2, 4])
    assert Codebook.load(finished / "round1" / "codebook.safetensors").source == "mfcc"
    assert Codebook.load(finished / "round2" / "codebook.safetensors").source == "layer 1"
    valid = read_metrics(finished / "round1", "valid")
    assert list(valid) == [3, 6] and valid[6]["seen_loss"] < valid[3]["seen_loss"]


def test_the_second_round_starts_from_the_first(finished: Path, speech: Speech, tmp_path: Path) -> None:
    first, last = (load_round(finished, TINY, number).hubert.state_dict() for number in (1, 2))
    name = "encoder.layers.0.attention.q_proj.weight"
    near = (first[name] - last[name]).abs().max()
    fresh = pretrain(dataclasses.replace(TINY, fresh=True), speech, tmp_path / "fresh", progress=False)
    assert near < 0.01 < (first[name] - fresh.hubert.state_dict()[name]).abs().max()


def test_an_interrupted_run_ends_with_the_same_weights(
    finished: Path, speech: Speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read_batch = training.read_batch

    def interrupted(*arguments):
        nonlocal reads
        reads += 1
        if reads == 5 + 1:  # the fifth step; one batch was read to validate
            raise KeyboardInterrupt
        return read_batch(*arguments)

    monkeypatch.setattr(training, "read_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain(TINY, speech, tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "round1" / "state.ckpt").is_file()
    model = pretrain(TINY, speech, tmp_path / "out", progress=False)
    unbroken = load_round(finished, TINY, 2).state_dict()
    assert all(torch.equal(value, unbroken[name]) for name, value in model.state_dict().items())


def test_another_recipe_in_the_same_folder_is_refused(finished: Path, speech: Speech) -> None:
    with pytest.raises(UserError, match="another recipe; give another folder"):
        pretrain(dataclasses.replace(TINY, seed=1), speech, finished, progress=False)
    with pytest.raises(UserError, match="another speech"):
        pretrain(TINY, Speech(speech.train[1:], speech.valid), finished, progress=False)


def test_the_loss_is_that_of_the_definition() -> None:
    torch.manual_seed(0)
    model = MaskedUnitModel(TINY, clusters=5).eval()
    wavs, labels = torch.randn(2, 6800), torch.randint(0, 5, (2, 21))
    mask = torch.rand(2, 21) < 0.5
    found = model(wavs, labels, mask)
    states = model.hubert(wavs, mask_time_indices=mask).last_hidden_state
    losses = []
    for row, frame in mask.nonzero().tolist():
        projected = model.head.final_proj(states[row, frame])
        cosines = [functional.cosine_similarity(projected, unit, dim=0) / 0.1 for unit in model.head.label_embs_concat]
        losses.append(torch.logsumexp(torch.stack(cosines), 0) - cosines[labels[row, frame]])
    torch.testing.assert_close(found.masked_loss, torch.stack(losses).mean())


def test_what_is_masked_is_not_seen() -> None:
    model = MaskedUnitModel(TINY, clusters=5).eval()
    mask = torch.ones(1, 21, dtype=torch.bool)
    mask[0, 0] = False
    states = [
        model.hubert(torch.cat([start, torch.randn(1, 6000)], 1), mask_time_indices=mask).last_hidden_state
        for start in [torch.randn(1, 800, generator=torch.Generator().manual_seed(1))] * 2
    ]
    # group norm looks at the whole utterance, so only nearly: nothing else of the masked frames gets through
    assert (states[0] - states[1]).abs().max() < 0.3 * states[0].std()


def test_embeddings_of_units_start_apart() -> None:
    head = UnitHead(16, 50, 32, 0.1)
    embeddings = functional.normalize(head.label_embs_concat, dim=1)
    cosines = (embeddings @ embeddings.T).fill_diagonal_(0)
    assert cosines.mean().abs() < 0.05


def test_frames_of_the_cnn_stand_for_the_samples_they_come_from() -> None:
    torch.manual_seed(0)
    model = MaskedUnitModel(TINY, clusters=5).eval()
    wav, labels = torch.randn(6800), torch.randint(0, 5, (1, 21))
    mask = torch.rand(1, 21) < 0.5
    from_samples = model(wav.unsqueeze(0), labels, mask)
    from_frames = model(model.cnn_frames(wav).unsqueeze(0), labels, mask)
    torch.testing.assert_close(from_frames, from_samples)
    torch.testing.assert_close(model.hidden_states(model.cnn_frames(wav)), model.hidden_states(wav))


def test_rounds_with_a_frozen_cnn_hear_the_speech_once(
    finished: Path, speech: Speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = RoundConfig(steps=4, layer=1, clusters=4, lr=TINY.rounds[0].lr, frozen_cnn=True)
    recipe = dataclasses.replace(TINY, rounds=(*TINY.rounds, frozen, dataclasses.replace(frozen, clusters=3)))
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out" / training.RECIPE).unlink()
    reads: list[Path] = []
    read_audio = units.read_audio

    def counted(path, **arguments):
        reads.append(path)
        return read_audio(path, **arguments)

    monkeypatch.setattr(units, "read_audio", counted)
    monkeypatch.setattr(training, "read_batch", None)
    pretrain(recipe, speech, tmp_path / "out", progress=False)
    assert sorted(reads) == sorted(utterance.path for utterance in speech.all)
    book = Codebook.load(tmp_path / "out/round3/codebook.safetensors")
    model = load_round(finished, TINY, 2)
    states = [model.hidden_states(read_audio(utterance.path))[1].numpy() for utterance in speech.all]
    assigned = np.load(tmp_path / "out/round3/units.npz")["units"]
    agree = np.mean(assigned == np.concatenate([book.assign(frames) for frames in states]))
    assert agree > 0.95  # the frames were kept in half precision
    load_round(tmp_path / "out", recipe, 4)


def test_a_folder_that_lacks_weights_is_no_start(finished: Path, speech: Speech, tmp_path: Path) -> None:
    folder = write_hubert_folder(load_round(finished, TINY, 2).hubert, tmp_path / "before")
    weights = load_file(folder / "model.safetensors")
    save_file({n: w for n, w in weights.items() if "q_proj" not in n}, folder / "model.safetensors", {"format": "pt"})
    more = RoundConfig(steps=6, layer=2, clusters=4)
    recipe = dataclasses.replace(TINY, initial=str(folder), rounds=(more,))
    with pytest.raises(UserError, match=r"q_proj\.bias.*missing"):
        pretrain(recipe, speech, tmp_path / "out", progress=False)


def test_a_round_with_a_frozen_cnn_goes_on_from_a_folder(finished: Path, speech: Speech, tmp_path: Path) -> None:
    before = load_round(finished, TINY, 2)
    folder = write_hubert_folder(before.hubert, tmp_path / "before")
    more = RoundConfig(steps=6, layer=2, clusters=4, frozen_cnn=True)
    recipe = dataclasses.replace(TINY, initial=str(folder), rounds=(more,))
    after = pretrain(recipe, speech, tmp_path / "out", progress=False).hubert.state_dict()
    for name, value in before.hubert.state_dict().items():
        rounded = value.half().float()
        changed = not torch.equal(after[name], rounded)
        assert changed != name.startswith("feature_extractor."), name
    assert len(read_metrics(tmp_path / "out/round1", "valid")) == 2
    other = dataclasses.replace(recipe, shape=dataclasses.replace(TINY.shape, conv_dim=4))
    with pytest.raises(UserError, match="no HuBERT of the shape"):
        pretrain(other, speech, tmp_path / "other", progress=False)
