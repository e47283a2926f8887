"""Features that are computed once: the same numbers, the layer asked for, and never another upstream's."""

from __future__ import annotations

import argparse
import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.feature_cache import CachedUpstream, files_hash, identity, put_cache_before
from s3prl_gendistiller.host.feature_store import FeatureCache
from s3prl_gendistiller.host.random_waveforms import sample_key


class Upstream(nn.Module):
    """Three layers of a frame per 320 samples; counts the utterances that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.computed = 0

    def get_downsample_rates(self, key: str) -> int:
        return 320

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        self.computed += len(wavs)
        frames = nn.utils.rnn.pad_sequence([wav[: len(wav) // 320 * 320].view(-1, 320) for wav in wavs], True)
        states = [frames[..., :5], frames[..., 5:10], frames[..., 10:15]]
        return {"hidden_states": tuple(states), "last_hidden_state": states[-1], "named": {"a": states[0]}}


WAVS = [torch.randn(length, generator=torch.Generator().manual_seed(length)) for length in (3200, 1000, 3300)]


def cached(folder: Path, selection: str = "hidden_states", layer: int | None = None) -> CachedUpstream:
    return CachedUpstream(Upstream(), selection, layer, FeatureCache(folder), "mine")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npz"))


def test_the_second_time_nothing_is_computed_and_all_is_equal(tmp_path: Path) -> None:
    first, second = cached(tmp_path), cached(tmp_path)
    expected = Upstream()(WAVS)["hidden_states"]
    for upstream in (first, first, second):
        found = upstream(WAVS)
        assert list(found) == ["hidden_states"] and len(found["hidden_states"]) == 3
        for ours, theirs in zip(found["hidden_states"], expected, strict=True):
            assert torch.equal(ours, theirs)
    assert first.upstream.computed == 3 and second.upstream.computed == 0
    found["hidden_states"][0].zero_()  # a change to the features does not change the stored ones
    assert torch.equal(second(WAVS[:1])["hidden_states"][0], expected[0][:1])
    assert first.get_downsample_rates("hidden_states") == 320


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_one_layer_comes_from_what_was_stored_for_all(tmp_path: Path, layer: int) -> None:
    cached(tmp_path)(WAVS)
    one = cached(tmp_path, layer=layer)
    assert torch.equal(one(WAVS)["hidden_states"], Upstream()(WAVS)["hidden_states"][layer])
    assert one.upstream.computed == 0


@pytest.mark.parametrize("selection", ["last_hidden_state", "named"])
def test_an_entry_that_is_one_tensor_stays_one(tmp_path: Path, selection: str) -> None:
    expected = Upstream()(WAVS)["last_hidden_state" if selection == "last_hidden_state" else "hidden_states"]
    expected = expected if isinstance(expected, Tensor) else expected[0]
    for _ in range(2):
        assert torch.equal(cached(tmp_path, selection, layer=-1)(WAVS)[selection], expected)


@pytest.mark.parametrize("layer", [None, 1])
def test_a_file_that_is_not_whole_is_computed_again(tmp_path: Path, layer: int | None) -> None:
    """Cut off, emptied, zeroed inside, of another utterance, another width, a pickle: never used, always mended."""
    expected = cached(tmp_path, layer=layer)(WAVS)["hidden_states"]
    first, second, _ = files(tmp_path)
    whole, other = first.read_bytes(), second.read_bytes()
    start = len(whole) // 2  # in the middle of the numbers
    zeroed = whole[:start] + bytes(64) + whole[start + 64 :]
    pickled = io.BytesIO()
    np.savez(pickled, **{first.stem: np.array([{}], dtype=object)})
    plain = io.BytesIO()
    np.save(plain, np.zeros((3, 10, 5)))
    damaged = [b"", b"none of numpy's", whole[:-8], whole[: len(whole) // 2], bytes(len(whole)), zeroed, other]
    for content in (*damaged, pickled.getvalue(), plain.getvalue()):
        first.write_bytes(content)
        again = cached(tmp_path, layer=layer)
        found = again(WAVS)["hidden_states"]
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
        assert again.upstream.computed == 1 and again(WAVS) and again.upstream.computed == 1
        assert FeatureCache(tmp_path).load(first, first.stem, layer) is not None
    narrow = cached(tmp_path, layer=layer)
    narrow.width = 4  # width that the Featurizer expects
    narrow(WAVS[:1])
    assert narrow.upstream.computed == 1


def test_what_is_not_finite_is_not_kept(tmp_path: Path) -> None:
    wav = WAVS[0].clone()
    wav[7] = torch.nan
    cached(tmp_path)([wav, WAVS[1]])
    assert len(files(tmp_path)) == 1


def test_what_was_drawn_is_computed_and_not_kept(tmp_path: Path) -> None:
    upstream = cached(tmp_path)
    for drawn, kept in ((None, 0), (frozenset([sample_key(WAVS[1])]), 2)):
        upstream.cache.drawn = drawn
        for _ in range(2):
            upstream(WAVS)
        assert len(files(tmp_path)) == kept
    assert upstream.upstream.computed == 6 + 3 + 1


def test_upstreams_are_told_apart_by_content(tmp_path: Path) -> None:
    checkpoint = tmp_path / "states-1.ckpt"
    checkpoint.write_bytes(b"one")
    names = [identity("mine", str(checkpoint), None), identity("mine", str(checkpoint), "steps: 2")]
    (tmp_path / "g.yaml").write_text("steps: 2")
    assert identity("mine", str(checkpoint), str(tmp_path / "g.yaml")) == names[1]
    checkpoint.write_bytes(b"two")
    names += [identity("mine", str(checkpoint), None), identity("fbank", None, None), identity("mine", "a url", None)]
    assert len(set(names)) == 5 and all("/" not in name for name in names)


def test_an_upstream_that_s3prl_fetches_is_known_by_its_weights() -> None:
    model = nn.Linear(2, 3).half()
    named, addressed = identity("hubert_base", None, None, model), identity("mine", "a url", None, model)
    assert identity("hubert_base", None, None, copy.deepcopy(model)) == named
    model.weight.data[0, 0] += 1
    assert identity("hubert_base", None, None, model) != named != identity("mine", "a url", None, model) != addressed
    assert identity("fbank", None, None, nn.Module()) == "fbank"
    assert identity("someone/../model", None, None) == "someone_.._model"


def test_of_a_transformers_folder_counts_what_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = files_hash(tmp_path)
    (tmp_path / "README.md").write_text("read me")
    assert files_hash(tmp_path) == before
    (tmp_path / "config.json").write_text("{}")
    assert files_hash(tmp_path) != before


def runner(trainable: bool) -> argparse.Namespace:
    args = argparse.Namespace(
        upstream="mine", upstream_ckpt=None, upstream_model_config=None, upstream_layer_selection=1
    )
    featurizer = argparse.Namespace(model=argparse.Namespace(feature_selection="hidden_states", output_dim=5))
    upstream = argparse.Namespace(model=Upstream(), trainable=trainable)
    return argparse.Namespace(args=args, featurizer=featurizer, upstream=upstream)


def test_a_runner_gets_it_in_place_of_its_upstream(tmp_path: Path) -> None:
    frozen = runner(False)
    put_cache_before(frozen, FeatureCache(tmp_path))
    assert frozen.upstream.model(WAVS)["hidden_states"].shape == (3, 10, 5)
    assert len(list((tmp_path / "mine" / "hidden_states").iterdir())) == 3
    with pytest.raises(UserError, match="--cache-features: found together with -f"):
        put_cache_before(runner(True), FeatureCache(tmp_path))
