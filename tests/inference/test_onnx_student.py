"""OnnxStudent: fewer steps, padding, and folders that cannot be read."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

from s3prl_gendistiller import load_student
from s3prl_gendistiller.cli import main
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import holds_onnx
from s3prl_gendistiller.inference.onnx_student import OnnxStudent
from tests.onnx_folders import write_speech


def test_a_padded_batch_equals_its_items_alone(conv_folder: Path, wavs: tuple[torch.Tensor, torch.Tensor]) -> None:
    student = OnnxStudent(conv_folder, threads=1)
    states, mask = student(*wavs)
    assert (student.name, student.width, student.num_layers) == ("conv", 24, 4)
    assert mask.shape == states[0].shape[:2] == (3, 24) and mask.sum(1).tolist() == [24, 15, 9]
    for index, length in enumerate(wavs[1].tolist()):
        alone, _ = student(wavs[0][index, :length])
        for state, single in zip(states, alone, strict=True):
            torch.testing.assert_close(state[index, : single.shape[1]], single[0], atol=1e-5, rtol=1e-5)


def test_fewer_steps_leave_the_later_layers_out(
    conv_folder: Path, conv_checkpoint: Path, wavs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    states, mask = OnnxStudent(conv_folder, steps=1, threads=1)(*wavs)
    wanted = load_student(conv_checkpoint).generate(*wavs, steps=1).hidden_states
    assert len(states) == 2
    for state, other in zip(states, wanted, strict=True):
        torch.testing.assert_close(state[mask], other[mask], atol=1e-5, rtol=1e-5)


def test_steps_are_those_of_the_graph(conv_folder: Path, int8_folder: Path) -> None:
    assert OnnxStudent(int8_folder, steps=2).num_layers == 3
    with pytest.raises(UserError, match=r"steps: found 3, expected 1\.\.2"):
        OnnxStudent(int8_folder, steps=3)
    with pytest.raises(UserError, match="steps: found 0"):
        OnnxStudent(conv_folder, steps=0)
    with pytest.raises(UserError, match="threads: found 0"):
        OnnxStudent(conv_folder, threads=0)


@pytest.mark.parametrize(
    ("wav", "message"), [(torch.zeros(399), "399 samples"), (torch.full((800,), torch.nan), "nan")]
)
def test_audio_that_has_no_frame_is_named(conv_folder: Path, wav: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OnnxStudent(conv_folder)([wav])


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / "x"))


def test_foreign_and_broken_folders_are_named(conv_folder: Path, int8_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        OnnxStudent(tmp_path / "nothing")
    folder = copied(conv_folder, tmp_path)
    graph, config = folder / "model.onnx", folder / "config.json"
    assert holds_onnx(folder) and not holds_onnx(tmp_path)
    graph.write_bytes(graph.read_bytes()[:20_000])
    with pytest.raises(UserError, match=rf"onnxruntime {onnxruntime.__version__} cannot read it .*states opset 20"):
        OnnxStudent(folder)
    graph.write_bytes((int8_folder / "model.onnx").read_bytes())
    with pytest.raises(UserError, match=r"found 3 hidden states, and config\.json states 4"):
        OnnxStudent(folder)
    other = onnx.helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, [1])
    same = onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [1])
    body = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["a"], ["b"])], "g", [other], [same])
    opset = [onnx.helper.make_opsetid("", 20)]
    graph.write_bytes(onnx.helper.make_model(body, opset_imports=opset, ir_version=10).SerializeToString())
    with pytest.raises(UserError, match="found a graph with the outputs b, expected that of a student"):
        OnnxStudent(folder)
    graph.unlink()
    with pytest.raises(UserError, match="no such file, expected the graph"):
        OnnxStudent(folder)
    config.write_text(json.dumps({**json.loads(config.read_text()), "format": "hub"}))
    with pytest.raises(UserError, match="found the format 'hub', expected onnx or onnx-int8"):
        OnnxStudent(folder)
    config.unlink()
    with pytest.raises(UserError, match=r"found no config\.json"):
        OnnxStudent(folder)


def test_a_newer_opset_and_an_older_runtime_are_named(
    conv_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(conv_folder, tmp_path)
    model = onnx.load(str(folder / "model.onnx"))
    model.opset_import[0].version = 99
    onnx.save(model, str(folder / "model.onnx"))
    with pytest.raises(
        UserError, match=rf"onnxruntime {onnxruntime.__version__} cannot read it \(ONNX Runtime only .*opset"
    ):
        OnnxStudent(folder)
    monkeypatch.setattr(onnxruntime, "__version__", "1.17.3")
    with pytest.raises(UserError, match=r"onnxruntime: found 1\.17\.3, expected 1\.21 or later"):
        OnnxStudent(conv_folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r'onnxruntime is not installed.*pip install "s3prl-gendistiller\[onnx\]"'):
        OnnxStudent(conv_folder)


def test_extract_reads_a_graph_as_it_reads_the_student(
    conv_folder: Path, conv_checkpoint: Path, tmp_path: Path
) -> None:
    write_speech(tmp_path / "audio", count=2, seconds=1.0)
    found = []
    for place, out in ((conv_folder, "graph"), (conv_checkpoint, "torch")):
        arguments = ["extract", tmp_path / "audio", "-k", place, "--out", tmp_path / out, "--no-progress"]
        assert main([*map(str, arguments)]) == 0
        found.append(load_file(tmp_path / out / "1.safetensors"))
    graph, torch_states = found
    assert graph.keys() == torch_states.keys() and len(graph) == 4
    assert all(np.allclose(graph[name], torch_states[name], atol=1e-4) for name in graph)


def test_load_student_names_what_reads_a_graph(conv_folder: Path) -> None:
    with pytest.raises(UserError, match=r"found an ONNX graph, expected model\.safetensors; `gendistiller extract -k`"):
        load_student(conv_folder)
