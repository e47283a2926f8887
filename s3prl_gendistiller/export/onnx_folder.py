"""A student as an ONNX graph, for onnxruntime and for programs in other languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.export.card import Card, render
from s3prl_gendistiller.export.onnx_graph import OPSET, export_graph, require_packages
from s3prl_gendistiller.export.onnx_parity import LARGEST, check_parity
from s3prl_gendistiller.export.student_files import README, StudentFiles, as_json, read_student
from s3prl_gendistiller.host.students import load_student
from s3prl_gendistiller.models.upstream import CONFIG, GRAPH
from s3prl_gendistiller.outputs import atomic_folder

FORMAT = "onnx"
_AGREEMENT = """\
## Agreement

The graph was compared with the student in torch when it was written: batches of one and of three utterances of
different lengths, at three padded lengths. The largest difference of any number, relative to the root mean square of
its hidden state (at most {limit:.0e}; hidden state 0 is the front end's frames):

| hidden state | difference |
|---|---|
{rows}
"""


def write_onnx(checkpoint: Path, folder: Path, card: Card, steps: int | None = None) -> list[Path]:
    """Writes model.onnx, config.json and the model card.

    Args:
        folder: a new folder, which appears only when it is complete; the returned files are relative to it.
        steps: number of layers of the graph; None for all.

    Raises:
        UserError: the folder exists, the checkpoint cannot be used, the student generates fewer layers, a package is
            missing or too old, or the graph does not agree with torch.
    """
    require_packages()
    files = read_student(checkpoint, steps)
    with atomic_folder(folder, "the graph") as partial:
        differences = write_graph(checkpoint, partial / GRAPH, files)
        write_texts_beside(partial, files, card, FORMAT, agreement(differences))
    return sorted(map(Path, (GRAPH, CONFIG, README)))


def write_graph(checkpoint: Path, file: Path, files: StudentFiles) -> list[float]:
    """Writes the graph of a student, and returns its differences from torch as of `check_parity`.

    Args:
        files: the student of the checkpoint, which stays as it is.
    """
    model = export_graph(load_student(checkpoint), files.steps)  # a student of its own, which loses its weight norms
    set_properties(model, files, FORMAT)
    file.write_bytes(model.SerializeToString())
    return check_parity(files.student, file, files.steps)


def set_properties(model: Any, files: StudentFiles, form: str) -> None:
    """Puts the settings of config.json, as text, into an `onnx.ModelProto`, for programs that read the graph alone."""
    import onnx

    stated = {name: value if isinstance(value, str) else json.dumps(value) for name, value in _settings(files, form)}
    onnx.helper.set_model_props(model, stated)


def write_texts_beside(partial: Path, files: StudentFiles, card: Card, form: str, section: str) -> None:
    """Writes config.json and the model card with one section more."""
    text = render(card, files.model_config, files.steps, __version__, form=form)
    (partial / CONFIG).write_text(as_json(dict(_settings(files, form))), encoding="utf-8")
    (partial / README).write_text(f"{text}\n{section}", encoding="utf-8")


def agreement(differences: list[float]) -> str:
    """The section of the card about the comparison with torch."""
    rows = "\n".join(f"| {index} | {value:.1e} |" for index, value in enumerate(differences))
    return _AGREEMENT.format(limit=LARGEST, rows=rows)


def _settings(files: StudentFiles, form: str) -> list[tuple[str, Any]]:
    return list(files.settings(form, opset=OPSET).items())
