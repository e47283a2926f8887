from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
import transformers

from hubert.encoder import build_hubert, encode
from hubert.folder import write_hubert_folder
from s3prl_gendistiller.distill.transformers_teacher import load_transformers_teacher
from s3prl_gendistiller.distill.units import UnitHead
from s3prl_gendistiller.errors import UserError
from tests.benchmarks.hubert.conftest import SHAPE


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, UnitHead, Path]:
    torch.manual_seed(0)
    hubert, head = build_hubert(SHAPE).eval(), UnitHead(SHAPE.hidden_size, 7, 8, 0.1)
    return hubert, head, write_hubert_folder(hubert, tmp_path_factory.mktemp("folder") / "mini", head)


def test_transformers_and_our_teachers_read_it_in_float32(written: tuple[Any, UnitHead, Path]) -> None:
    hubert, _, folder = written
    wav = torch.randn(8000) / 10
    rounded = build_hubert(SHAPE).eval()
    rounded.load_state_dict({name: weight.half().float() for name, weight in hubert.state_dict().items()})
    with torch.no_grad():
        expected = [state[0] for state in encode(rounded, wav.unsqueeze(0))]
    loaded = transformers.HubertModel.from_pretrained(folder).eval()
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    with torch.no_grad():
        states = loaded(wav.unsqueeze(0), output_hidden_states=True).hidden_states
    teacher = load_transformers_teacher(folder)
    taught = teacher(wav.unsqueeze(0), torch.tensor([8000]), [0, 1, 2])[0]
    for mine, theirs, ours in zip(expected, states, taught, strict=True):
        torch.testing.assert_close(theirs[0], mine, atol=1e-5, rtol=0)
        torch.testing.assert_close(ours, theirs[0], atol=1e-5, rtol=0)


def test_the_head_is_beside_it(written: tuple[Any, UnitHead, Path]) -> None:
    _, head, folder = written
    with safetensors.safe_open(folder / "unit_head.safetensors", "pt") as file:
        assert file.metadata() == {"temperature": "0.1", "layer": "2"}
        assert sorted(file.keys()) == ["final_proj.bias", "final_proj.weight", "label_embs_concat"]
        assert torch.equal(file.get_tensor("label_embs_concat"), head.label_embs_concat)


def test_nothing_is_overwritten_and_nothing_is_half_written(written: tuple[Any, UnitHead, Path]) -> None:
    hubert, _, folder = written
    with pytest.raises(UserError, match="already there"):
        write_hubert_folder(hubert, folder)
    broken = build_hubert(SHAPE)
    broken.feature_projection.projection.bias.data.fill_(1e6)
    with pytest.raises(UserError, match="feature_projection.projection.bias: larger than half precision"):
        write_hubert_folder(broken, folder.parent / "other")
    assert [path.name for path in folder.parent.iterdir()] == ["mini"]
