"""Trained students in forms that run without this package: one module and one row of `EXPORT_FORMATS` each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes:
        write: ``module:function`` of this package, called as ``write(checkpoint, folder, card, steps)``. The function
            makes a new folder, whole or not at all, and returns the files below it.
        help: of the flag of `gendistiller submit` that names the folder.
    """

    write: str
    help: str


EXPORT_FORMATS = {
    "hub_folder": ExportFormat(".export.hub_folder:write_hub_folder", "new folder for the student as an upstream"),
}
"""Every format by the name of its flag, with _ in place of -."""
