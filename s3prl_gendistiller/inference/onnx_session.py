"""One ONNX graph of a student, run by onnxruntime on the CPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.front_end import frame_mask

INPUTS = ("wavs", "lengths")
FRAMES = "frames"  # the last output; the outputs before it are the hidden states
RUNTIME = (1, 21)  # the oldest onnxruntime that setup.py admits
INSTALL = 'pip install "s3prl-gendistiller[onnx]"'
_BEGINNING = re.compile(r"^(Load model from .* failed:)?(/.*?[\w&]\) (?=[A-Z]))?")  # file and function of onnxruntime


def state_name(index: int) -> str:
    """The name of the output with hidden state `index`; 0 is the front end's frames."""
    return f"hidden_state_{index}"


class OnnxSession:
    """``session(wavs, lengths) -> (hidden states, frame mask)``.

    Args:
        file: written by `export.onnx_folder`.
        layers: number of hidden states behind the first that are computed; None for all. Operators of later layers
            are cut off.
        threads: of one call; None for one per core.
        versions: opset and writer of the graph in words, for messages.

    Attributes:
        num_states: number of hidden states that a call returns.

    Raises:
        UserError: onnxruntime is missing or too old, the file is not whole, or it holds another graph.
    """

    def __init__(
        self, file: Path, *, layers: int | None = None, threads: int | None = None, versions: str = ""
    ) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # of errors, this module's messages tell
        if threads is not None:
            options.intra_op_num_threads = threads
        if not file.is_file():
            raise UserError(f"{file}: no such file, expected the graph of a student; write the folder again")
        try:
            source = str(file) if layers is None else _cut(file, layers)
            self._session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of onnxruntime and of protobuf share no base
            if isinstance(error, UserError):
                raise
            stated = f"; the folder states {versions}" if versions else ""
            raise UserError(
                f"{file}: onnxruntime {runtime.__version__} cannot read it ({_reason(error)}){stated}; expected the "
                "graph of a student; upgrade onnxruntime, or write the folder again"
            ) from error
        self._names = [output.name for output in self._session.get_outputs()]
        self.num_states = len(self._names) - 1
        expected = [*map(state_name, range(self.num_states)), FRAMES]
        if [found.name for found in self._session.get_inputs()] != [*INPUTS] or self._names != expected:
            raise UserError(
                f"{file}: found a graph with the outputs {', '.join(self._names)[:80]}, expected that of a student of "
                "this package; name another folder"
            )

    def __call__(self, wavs: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """wavs (B, S) float32, zero behind each item, and lengths (B,) to the states, each (B, T, D), and the mask.

        Raises:
            ValueError: an item is too short for one frame.
        """
        given = (wavs.contiguous().numpy(), lengths.to(torch.int64).numpy())
        *states, frames = map(torch.from_numpy, self._session.run(None, dict(zip(INPUTS, given, strict=True))))
        if int(frames.min()) < 1:
            raise ValueError(f"found an utterance of {int(lengths.min())} samples, expected at least one frame")
        return states, frame_mask(frames, states[0].shape[1])


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"onnxruntime is not installed, and ONNX students need it; {INSTALL}") from error
    found = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    if found < RUNTIME:
        raise UserError(
            f"onnxruntime: found {onnxruntime.__version__}, expected {'.'.join(map(str, RUNTIME))} or later; {INSTALL}"
        )
    return onnxruntime


def _cut(file: Path, layers: int) -> bytes:
    """The graph with the first hidden states alone, because onnxruntime computes outputs that nobody asks for."""
    try:
        import onnx
        from onnx.utils import Extractor
    except ImportError as error:
        raise UserError(f"onnx is not installed, and it cuts a graph to fewer steps; {INSTALL}") from error
    model = onnx.load(str(file))
    there = [output.name for output in model.graph.output]
    names = [*map(state_name, range(layers + 1)), FRAMES]
    if not {*names} <= {*there}:
        raise UserError(f"{file}: found {len(there) - 1} hidden states, expected {layers + 1}; write the folder again")
    cut: bytes = Extractor(model).extract_model([*INPUTS], names).SerializeToString()
    return cut


def _reason(error: Exception) -> str:
    """onnxruntime's reason without its code, its source file and its function."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0].rpartition(" : ")[2]
    return _BEGINNING.sub("", text)[:160].rstrip(". ")
