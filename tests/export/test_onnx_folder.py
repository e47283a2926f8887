"""The ONNX folder: agreement with torch, size, card, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from s3prl_gendistiller import load_student
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.export import onnx_folder, onnx_graph, onnx_parity
from s3prl_gendistiller.export.onnx_folder import write_onnx
from s3prl_gendistiller.export.onnx_graph import StudentGraph, export_graph
from s3prl_gendistiller.host.students import build_student
from tests.conftest import TINY, run_python
from tests.export.test_hub_folder import save
from tests.onnx_folders import CARD

BASELINE = {"teacher": {"folder": "t"}, "student": TINY, "distill": {"target_layers": [1, 2]}}


def test_onnxruntime_alone_gives_torchs_hidden_states(
    conv_folder: Path, conv_checkpoint: Path, wavs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    session = onnxruntime.InferenceSession(str(conv_folder / "model.onnx"))
    *states, frames = session.run(None, {"wavs": wavs[0].numpy(), "lengths": wavs[1].numpy()})
    wanted = load_student(conv_checkpoint).generate(*wavs)
    assert frames.tolist() == wanted.frame_mask.sum(1).tolist() == [24, 15, 9]
    for found, state in zip(states, wanted.hidden_states, strict=True):
        torch.testing.assert_close(torch.from_numpy(found)[wanted.frame_mask], state[wanted.frame_mask])


def test_the_code_of_the_card_runs_without_torch_and_this_package(conv_checkpoint: Path, tmp_path: Path) -> None:
    write_onnx(conv_checkpoint, tmp_path / CARD.name, CARD)
    card = (tmp_path / CARD.name / "README.md").read_text()
    lines = card.partition("With onnxruntime alone")[2].partition("##")[0].splitlines()
    code = "\n".join(line[4:] for line in lines if line.startswith("    "))
    alone = (
        "import sys\nfor name in ('torch', 's3prl', 'transformers', 's3prl_gendistiller'): sys.modules[name] = None\n"
    )
    shown = "\nprint(len(states), states[0].shape, frames.tolist())"
    answer = run_python("-c", alone + code + shown, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert answer.stdout.split("\n")[0] == "4 (2, 49, 24) [49, 27]"


def test_the_shared_layer_stands_in_the_file_once(conv_folder: Path, conv_checkpoint: Path) -> None:
    student = load_student(conv_checkpoint)
    stored = onnx.load(str(conv_folder / "model.onnx")).graph
    numbers = sum(onnx.numpy_helper.to_array(tensor).size for tensor in stored.initializer)
    assert sum(node.op_type == "MatMul" for node in stored.node) > 3 * 6  # six matrices, three steps
    assert 0.9 < numbers / sum(parameter.numel() for parameter in student.parameters()) < 1.05


def test_the_folder_says_what_it_is_and_names_no_file_of_this_machine(conv_folder: Path) -> None:
    assert sorted(path.name for path in conv_folder.iterdir()) == ["README.md", "config.json", "model.onnx"]
    stated = json.loads((conv_folder / "config.json").read_text())
    assert (stated["format"], stated["task"], stated["steps"]) == ("onnx", "gendistiller", None)
    model = onnx.load(str(conv_folder / "model.onnx"))
    assert stated["opset"] == model.opset_import[0].version
    written = {entry.key: entry.value for entry in model.metadata_props}
    assert written["format"] == "onnx" and json.loads(written["config"]) == stated["config"]
    content = (conv_folder / "model.onnx").read_bytes()
    assert b".py" not in content and b"/home/" not in content
    card = (conv_folder / "README.md").read_text()
    rows = [line.split("|")[1:3] for line in card.partition("## Agreement")[2].splitlines() if "e-" in line]
    assert [int(layer) for layer, _ in rows[-4:]] == [0, 1, 2, 3]
    assert all(0 < float(difference) <= onnx_parity.LARGEST for _, difference in rows[-4:])


def test_s3prls_distiller_can_be_written_too(tmp_path: Path, wavs: tuple[torch.Tensor, torch.Tensor]) -> None:
    student = build_student(BASELINE, task="distilhubert").eval()
    wanted = student.generate(*wavs)
    (tmp_path / "x.onnx").write_bytes(export_graph(student, None).SerializeToString())
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"))
    *states, _ = session.run(None, {"wavs": wavs[0].numpy(), "lengths": wavs[1].numpy()})
    found = onnx_parity.differences([*map(torch.from_numpy, states)], wanted.hidden_states, wanted.frame_mask)
    assert len(found) == 5 and float(found.max()) < 1e-3


def test_a_graph_that_differs_from_torch_is_not_written(
    conv_folder: Path, conv_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = onnx.load(str(conv_folder / "model.onnx"))
    monkeypatch.setattr(onnx_folder, "export_graph", lambda student, steps: made)
    monkeypatch.setattr(onnx_parity, "LARGEST", 1e-12)
    with pytest.raises(UserError, match="hidden states differ from torch's by .*e-0.*expected 1e-12"):
        write_onnx(conv_checkpoint, tmp_path / "o", CARD)
    assert list(tmp_path.iterdir()) == []


def test_a_difference_that_is_no_number_is_seen(conv_folder: Path, conv_checkpoint: Path) -> None:
    student = load_student(conv_checkpoint)
    student.get_submodule("layer.ffn_out").bias.data.fill_(torch.nan)  # type: ignore[union-attr,operator]
    with pytest.raises(UserError, match="hidden states differ"):
        onnx_parity.check_parity(student, conv_folder / "model.onnx", None)


def test_a_student_that_cannot_be_traced_is_named() -> None:
    class Counting(nn.Module):
        def forward(self, wavs: torch.Tensor, lengths: torch.Tensor, steps: int | None = None) -> object:
            return onnx_graph.Student() if int(lengths.min()) > 10**6 else wanted

    wanted = build_student(BASELINE).generate(torch.randn(16_000) * 0.1)
    with pytest.raises(UserError, match="cannot trace this student"):
        export_graph(Counting(), None)  # type: ignore[arg-type]


def test_what_cannot_be_written_leaves_nothing(
    conv_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="steps: found 4, expected 1..3"):
        write_onnx(conv_checkpoint, tmp_path / "o", CARD, 4)
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="already there"):
        write_onnx(conv_checkpoint, tmp_path / "there", CARD)
    monkeypatch.setattr(torch, "__version__", "2.8.1+cpu")
    with pytest.raises(UserError, match="found torch 2.8.1.cpu, expected 2.9 or later"):
        write_onnx(conv_checkpoint, tmp_path / "o", CARD)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UserError, match=r'onnxscript is not installed; pip install "s3prl-gendistiller\[onnx\]"'):
        write_onnx(conv_checkpoint, tmp_path / "o", CARD)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_weight_norms_are_folded_without_a_change(wavs: tuple[torch.Tensor, torch.Tensor], tmp_path: Path) -> None:
    student = load_student(save(tmp_path / "x.ckpt"))
    wanted = student.generate(*wavs).hidden_states
    graph = StudentGraph(student, None)
    assert not any("parametrizations" in name for name in graph.state_dict())
    with torch.no_grad():
        *found, _ = graph(*wavs)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
