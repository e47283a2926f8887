"""A student as one ONNX graph: every hidden state and the frame counts, for any batch and length.

torch traces the student with the lengths as an input, so that the masks are part of the graph. Afterwards the graph is
made small: what no input changes is computed once, weights that several steps share stand in the file once, and
torch's notes on its source lines are removed, because they name files of the machine that wrote the graph.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_weight_norm

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.onnx_session import FRAMES, INPUTS, INSTALL, state_name
from s3prl_gendistiller.models.mel import LogMel
from s3prl_gendistiller.models.student import Student

OPSET = 20  # the first one with GELU as one operator
TORCH = (2, 9)  # the first version whose exporter to ONNX is the one that traces with torch.export
_EXAMPLE_SAMPLES = (16_000, 9_000)


class StudentGraph(nn.Module):
    """A student in use whose output is a tuple of tensors.

    Args:
        student: as `Student.for_use` returns it; its weight norms are replaced by the weights that they give.
        steps: number of layers that the graph generates; None for all.
    """

    def __init__(self, student: Student, steps: int | None) -> None:
        super().__init__()
        self.student = _folded(student).eval()
        self.steps = steps

    def forward(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """wavs (B, S) and lengths (B,) int64 to the hidden states, each (B, T, D), and the frame counts (B,) int64."""
        output = self.student(wavs, lengths, steps=self.steps)
        return (*output.hidden_states, output.frame_mask.sum(1))


def export_graph(student: Student, steps: int | None) -> Any:
    """The `onnx.ModelProto` of a student in use.

    Args:
        student: loses its weight norms, so that it is of no use for training afterwards.
        steps: as of `StudentGraph`.

    Raises:
        UserError: a package is missing or too old, or torch cannot trace the student.
    """
    require_packages()
    graph = StudentGraph(student, steps)
    wavs = torch.zeros(len(_EXAMPLE_SAMPLES), max(_EXAMPLE_SAMPLES)).uniform_(-0.1, 0.1)
    lengths = torch.tensor(_EXAMPLE_SAMPLES)
    with torch.no_grad(), quiet():
        names = [*map(state_name, range(len(graph(wavs, lengths)) - 1)), FRAMES]
        try:
            program = torch.onnx.export(
                graph,
                (wavs, lengths),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=names,
                dynamic_shapes={"wavs": {0: "batch", 1: "samples"}, "lengths": {0: "batch"}},
                external_data=False,
            )
        except ImportError as error:  # onnxscript has a module for each interface of torch
            raise UserError(f"ONNX: onnxscript does not fit torch {torch.__version__} ({error}); upgrade it") from error
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(
                f"ONNX: torch {torch.__version__} cannot trace this student ({reason}); use another format of "
                "`gendistiller export`"
            ) from error
        assert program is not None
        return _small(program.model)


def require_packages() -> None:
    """UserError if a package that writes ONNX is missing or too old."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; {INSTALL}") from error
    found = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if found < TORCH:
        raise UserError(
            f"ONNX: found torch {torch.__version__}, expected {'.'.join(map(str, TORCH))} or later; upgrade torch to "
            "write the folder, which older versions need not read"
        )


def _folded(student: Student) -> Student:
    """The student with plain weights in place of weight norms, and with the DFT as a convolution."""
    for module in student.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
        elif hasattr(module, "weight_g"):  # the older form, which s3prl uses
            remove_weight_norm(module)
        if isinstance(module, LogMel):
            module.by_convolution = True
    return student


def _small(model: Any) -> Any:
    """An `onnx_ir.Model` as a `ModelProto`, without what would be stored or computed more often than once."""
    import onnx_ir
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants_ir

    largest = 4 * max(sum(value.const_value.nbytes for value in model.graph.initializers.values()), 2**20)
    fold_constants_ir(model, input_size_limit=largest, output_size_limit=largest)
    for tidy in (
        common.RemoveUnusedNodesPass(),
        common.CommonSubexpressionEliminationPass(),
        common.DeduplicateInitializersPass(size_limit=largest),
        common.ClearMetadataAndDocStringPass(),
    ):
        model = tidy(model).model
    for node in model.graph:
        for output in node.outputs:
            output.metadata_props.clear()
    return onnx_ir.to_proto(model)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discards what torch prints and logs about its own progress and about packages that a student does not need."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in ("torch.onnx", "onnxscript")}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
