"""-u transformers_local: a transformers folder behind s3prl's upstream contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from s3prl.upstream.interfaces import Featurizer

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.hub_teacher import load_hub_teacher
from s3prl_gendistiller.host.layers import count_hidden_states, load_upstream
from s3prl_gendistiller.host.mount import mount_hub
from tests.bench import TINY_TEACHER

LENGTHS = (8000, 5000, 3210)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {
        kind: write_random_teacher(root / kind, model_type=kind, **TINY_TEACHER)
        for kind in ("hubert", "wavlm", "wav2vec2")
    }


@pytest.fixture
def audio() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [0.1 * torch.randn(length, generator=generator) for length in LENGTHS]


@pytest.mark.parametrize(("kind", "name"), [("hubert", "hf_hubert_custom"), ("wav2vec2", "hf_wav2vec2_custom")])
def test_it_gives_what_s3prls_own_upstream_gives_where_that_is_right(
    kind: str, name: str, folders: dict[str, Path], audio: list[torch.Tensor]
) -> None:
    ours = load_upstream("transformers_local", folders[kind])
    theirs = getattr(mount_hub(), name)(str(folders[kind])).eval()
    with torch.no_grad():
        found, expected = ours(audio)["hidden_states"], theirs(audio)["hidden_states"]
    assert len(found) == len(expected) == 4
    for ours_state, their_state in zip(found, expected, strict=True):
        torch.testing.assert_close(ours_state, their_state, atol=1e-5, rtol=1e-4)


def test_a_wavlm_keeps_its_position_weights(folders: dict[str, Path], audio: list[torch.Tensor]) -> None:
    upstream, teacher = (
        load_upstream("transformers_local", folders["wavlm"]),
        load_transformers_teacher(folders["wavlm"]),
    )
    output = upstream(audio[:1])
    expected = teacher(audio[0][None], torch.tensor([8000]), [0, 1, 2, 3])[0]
    for layer, state in enumerate(output["hidden_states"]):
        torch.testing.assert_close(state[0], expected[layer])
    assert torch.equal(output["last_hidden_state"], output["hidden_states"][-1])
    assert any("rel_attn_embed" in name for name, _ in upstream.named_parameters())


def test_it_keeps_the_featurizers_contract_and_can_be_trained(
    folders: dict[str, Path], audio: list[torch.Tensor]
) -> None:
    upstream = load_upstream("transformers_local", folders["wavlm"])
    featurizer = Featurizer(upstream, upstream_device="cpu")
    features = featurizer(audio, upstream.train()(audio))
    assert [len(feature) for feature in features] == [24, 16, 10] and featurizer.downsample_rate == 320
    assert count_hidden_states("transformers_local", folders["wavlm"]) == 4
    features[0].sum().backward()
    assert all(weight.requires_grad for weight in upstream.parameters())
    assert upstream.model.encoder.layers[2].feed_forward.output_dense.weight.grad.abs().sum() > 0


def test_a_teacher_may_be_named_by_it(folders: dict[str, Path]) -> None:
    teacher = load_hub_teacher("transformers_local", str(folders["wavlm"]))
    assert (teacher.model_type, teacher.naming, teacher.num_layers) == ("wavlm", "transformers", 3)


def test_what_it_does_not_take_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    entry = mount_hub().transformers_local
    with pytest.raises(UserError, match="-g: found steps: 2 with -u transformers_local, which takes none"):
        entry(ckpt=str(folders["hubert"]), model_config="steps: 2")
    with pytest.raises(UserError, match=rf"-k: {tmp_path} holds no config\.json"):
        entry(ckpt=str(tmp_path))
