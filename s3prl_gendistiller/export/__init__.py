"""Trained students in forms for other programs: one module and one row of `EXPORT_FORMATS` each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportFormat:
    """One format, which is a folder.

    Attributes:
        write: ``module:function`` of this package, called as ``write(checkpoint, folder, card, steps)``. The function
            makes a new folder, whole or not at all, and returns the files below it.
        about: what reads the folder.
        calibrated: `write` takes a folder with recordings, too, as its keyword `calibration`.
    """

    write: str
    about: str
    calibrated: bool = False


EXPORT_FORMATS = {
    "transformers": ExportFormat(
        ".export.transformers_folder:write_transformers", "transformers' AutoModel, without this package"
    ),
    "safetensors": ExportFormat(".export.safetensors_folder:write_safetensors", "load_student, without code"),
    "onnx": ExportFormat(".export.onnx_folder:write_onnx", "onnxruntime, and programs in other languages"),
    "onnx-int8": ExportFormat(
        ".export.onnx_int8:write_onnx_int8", "the same with whole numbers, a quarter of the size", calibrated=True
    ),
    "hub": ExportFormat(".export.hub_folder:write_hub_folder", "s3prl's --hub huggingface, without this package"),
}
"""Every format by its name."""
