"""A student of a folder that `gendistiller export --format onnx` wrote, behind the call of students in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from s3prl_gendistiller.documents import read_json
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.students import read_settings
from s3prl_gendistiller.inference.feature_models import check_threads
from s3prl_gendistiller.inference.onnx_session import OnnxSession
from s3prl_gendistiller.models.upstream import CONFIG, GRAPH
from s3prl_gendistiller.models.waveforms import to_batch

FORMATS = ("onnx", "onnx-int8")


class OnnxStudent:
    """``student(wavs, lengths) -> (hidden states, frame mask)`` with onnxruntime on the CPU.

    Args:
        folder: written by `export.onnx_folder.write_onnx` or `export.onnx_int8.write_onnx_int8`.
        steps: number of layers to generate; None for all that the graph has. Later layers are not computed.
        threads: threads of one call; None for one per core.

    Attributes:
        name: the folder's name.
        width: D.
        num_layers: number of hidden states, the front end's frames included.
        batches: whether an utterance has the same features in a batch as alone.

    Raises:
        UserError: the folder is not whole or of another kind, onnxruntime is missing or too old, or `steps` is out of
            range.
    """

    def __init__(self, folder: str | Path, steps: int | None = None, threads: int | None = None) -> None:
        folder = Path(folder)
        stated = _stated(folder)
        settings = read_settings(folder)
        most = settings.steps or len(settings.config.distill.target_layers)
        if steps is not None and not settings.kind.stepwise:
            raise UserError(f"steps: found {steps} for {folder}, which predicts all its layers at once; leave it out")
        if steps is not None and not 1 <= steps <= most:
            raise UserError(f"steps: found {steps}, expected 1..{most}, the layers of the graph in {folder}")
        if threads is not None:
            check_threads(threads)
        versions = f"opset {stated.get('opset')} and {stated.get('package')}"
        layers = None if steps in (None, most) else steps
        self._session = OnnxSession(folder / GRAPH, layers=layers, threads=threads, versions=versions)
        expected = (steps or most) + 1
        if settings.kind.stepwise and self._session.num_states != expected:
            raise UserError(
                f"{folder / GRAPH}: found {self._session.num_states} hidden states, and {CONFIG} states {expected}; "
                "write the folder again"
            )
        self.name = folder.resolve().name
        self.width = settings.config.student.encoder_embed_dim
        self.num_layers = self._session.num_states
        self.batches = not settings.kind.heads  # HuBERT's group norm reads padding, and s3prl's DistilHuBERT has it

    def __call__(self, wavs: Any, lengths: Any = None) -> tuple[list[Tensor], Tensor]:
        """Hidden states of a batch.

        Args:
            wavs: (B, S) samples at 16 kHz between -1 and 1; or a waveform (S,), or a list of waveforms.
            lengths: (B,) samples of each row of a padded batch; None: all samples.

        Returns:
            ``[z, h_1, ..., h_k]``, each (B, T, D) float32, and the frame mask (B, T), True = real frame.

        Raises:
            WaveformError: a UserError and ValueError about the audio.
        """
        batch, samples = to_batch(wavs, lengths)
        return self._session(batch.cpu(), samples.cpu())


def _stated(folder: Path) -> dict[str, Any]:
    """The content of config.json; UserError if it is not that of an ONNX folder."""
    if not folder.is_dir() or not (folder / CONFIG).is_file():
        what = "no such folder" if not folder.is_dir() else f"found no {CONFIG}"
        raise UserError(f"{folder}: {what}, expected the folder of a student in the format onnx; name another one")
    content = read_json(folder / CONFIG)
    found = content.get("format") if isinstance(content, dict) else None
    if found not in FORMATS:
        raise UserError(
            f"{folder / CONFIG}: found the format {found!r}, expected {' or '.join(FORMATS)}; name another folder"
        )
    return content
