from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
import transformers

from hubert.codebook import Codebook
from hubert.folder import write_hubert_folder
from hubert.model import MaskedUnitModel
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.errors import UserError
from tests.benchmarks.hubert.conftest import TINY


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[MaskedUnitModel, Path]:
    torch.manual_seed(0)
    model = MaskedUnitModel(TINY, clusters=7).eval()
    codebook = Codebook(np.zeros((7, 16), np.float32), "layer 1")
    return model, write_hubert_folder(model.hubert, tmp_path_factory.mktemp("folder") / "mini", model.head, codebook)


def test_transformers_and_our_teachers_read_it_in_float32(written: tuple[MaskedUnitModel, Path]) -> None:
    model, folder = written
    wav = torch.randn(8000) / 10
    rounded = MaskedUnitModel(TINY, clusters=7).eval()
    rounded.load_state_dict({name: weight.half().float() for name, weight in model.state_dict().items()})
    expected = rounded.hidden_states(wav)
    loaded = transformers.HubertModel.from_pretrained(folder).eval()
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    with torch.no_grad():
        states = loaded(wav.unsqueeze(0), output_hidden_states=True).hidden_states
    teacher = load_transformers_teacher(folder)
    taught = teacher(wav.unsqueeze(0), torch.tensor([8000]), [0, 1, 2])[0]
    for mine, theirs, ours in zip(expected, states, taught, strict=True):
        torch.testing.assert_close(theirs[0], mine, atol=1e-5, rtol=0)
        torch.testing.assert_close(ours, theirs[0], atol=1e-5, rtol=0)


def test_head_and_codebook_are_beside_it(written: tuple[MaskedUnitModel, Path]) -> None:
    model, folder = written
    with safetensors.safe_open(folder / "unit_head.safetensors", "pt") as file:
        assert file.metadata() == {"temperature": "0.1", "layer": "2"}
        assert sorted(file.keys()) == ["final_proj.bias", "final_proj.weight", "label_embs_concat"]
        assert torch.equal(file.get_tensor("label_embs_concat"), model.head.label_embs_concat)
    assert Codebook.load(folder / "codebook.safetensors").source == "layer 1"


def test_nothing_is_overwritten_and_nothing_is_half_written(written: tuple[MaskedUnitModel, Path]) -> None:
    model, folder = written
    with pytest.raises(UserError, match="already there"):
        write_hubert_folder(model.hubert, folder)
    broken = MaskedUnitModel(TINY, clusters=7)
    broken.hubert.feature_projection.projection.bias.data.fill_(1e6)
    with pytest.raises(UserError, match="feature_projection.projection.bias: larger than half precision"):
        write_hubert_folder(broken.hubert, folder.parent / "other")
    assert [path.name for path in folder.parent.iterdir()] == ["mini"]
