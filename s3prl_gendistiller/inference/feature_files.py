"""Files of features: the hidden states of one recording, row by row, in the memory of a few rows.

safetensors is written here because its library takes whole tensors: eight bytes with the length of a header in JSON,
the header, and the tensors one after another.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import replacing

ARRAY = "hidden_{}"
"""Name of an array, with the index of its hidden state."""
DTYPES = {"float32": ("<f4", "F32"), "float16": ("<f2", "F16")}
"""Names of types with those of numpy and of safetensors."""

Write = Callable[[Sequence[np.ndarray]], None]
"""Takes the next rows (t, D) of every array."""


@dataclass(frozen=True)
class Shape:
    """What one recording's file holds.

    Attributes:
        names: of the arrays.
        frames: T, of each array.
        width: D.
        dtype: of `DTYPES`.
        samples: of the recording at 16 kHz.
    """

    names: tuple[str, ...]
    frames: int
    width: int
    dtype: str
    samples: int

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(DTYPES[self.dtype][0])

    @property
    def array_bytes(self) -> int:
        return self.frames * self.width * self.numpy.itemsize


@contextmanager
def safetensors_file(path: Path, shape: Shape) -> Iterator[Write]:
    """A new file, whole or none, with the arrays that the block writes; UserError if it cannot be written."""
    size = shape.array_bytes
    header: dict[str, object] = {"__metadata__": {"format": "pt", "samples": str(shape.samples)}}
    for index, name in enumerate(shape.names):
        offsets = [index * size, (index + 1) * size]
        kind = DTYPES[shape.dtype][1]
        header[name] = {"dtype": kind, "shape": [shape.frames, shape.width], "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as part, part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start, written = file.tell(), 0

        def write(rows: Sequence[np.ndarray]) -> None:
            nonlocal written
            for index, array in enumerate(rows):
                file.seek(start + index * size + written)
                file.write(array.astype(shape.numpy).tobytes())
            written += rows[0].shape[0] * shape.width * shape.numpy.itemsize

        yield write
        _check(written, size)


@contextmanager
def npz_file(path: Path, shape: Shape) -> Iterator[Write]:
    """As `safetensors_file`: numpy's archive, uncompressed."""
    with replacing(path) as part, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{part.name}-", dir=path.parent)))
        files = [stack.enter_context((folder / f"{name}.npy").open("wb")) for name in shape.names]
        stated = {"descr": DTYPES[shape.dtype][0], "fortran_order": False, "shape": (shape.frames, shape.width)}
        for file in files:
            np.lib.format.write_array_header_1_0(file, stated)
        written = 0

        def write(rows: Sequence[np.ndarray]) -> None:
            nonlocal written
            for file, array in zip(files, rows, strict=True):
                file.write(array.astype(shape.numpy).tobytes())
            written += rows[0].shape[0]

        yield write
        _check(written, shape.frames)
        with zipfile.ZipFile(part, "w") as archive:
            for name, file in zip(shape.names, files, strict=True):
                file.close()
                archive.write(file.name, f"{name}.npy")


@contextmanager
def hdf5_file(path: Path, shape: Shape) -> Iterator[Write]:
    """As `safetensors_file`: a dataset for each array, and the attribute `samples`."""
    import h5py

    with replacing(path) as part, h5py.File(part, "w") as file:
        file.attrs["samples"] = shape.samples
        sets = [file.create_dataset(name, (shape.frames, shape.width), shape.numpy) for name in shape.names]
        written = 0

        def write(rows: Sequence[np.ndarray]) -> None:
            nonlocal written
            for dataset, array in zip(sets, rows, strict=True):
                dataset[written : written + len(array)] = array
            written += rows[0].shape[0]

        yield write
        _check(written, shape.frames)


def join_hdf5(path: Path, parts: dict[str, Path], removed: Collection[str] = ()) -> None:
    """Puts the files of several recordings into one, each as the group of its name, beside those already there.

    The file is copied first, and appears whole. A group may hold the groups of other recordings, which stay.

    Args:
        removed: recordings whose arrays are taken out.
    """
    import h5py

    with replacing(path) as part:
        if path.exists():
            with path.open("rb") as before, part.open("wb") as copy:
                while block := before.read(1 << 24):
                    copy.write(block)
        with h5py.File(part, "a") as whole:
            for name in {*parts, *removed} & names_in_hdf5(part):
                for array in [key for key, item in whole[name].items() if isinstance(item, h5py.Dataset)]:
                    del whole[name][array]
                del whole[name].attrs["samples"]
            for name, file in parts.items():
                group = whole.require_group(name)
                with h5py.File(file, "r") as single:
                    for array in single:
                        single.copy(array, group)
                    group.attrs["samples"] = single.attrs["samples"]


def names_in_hdf5(path: Path) -> set[str]:
    """The recordings of a file of `join_hdf5`; none where there is no file. UserError if it is no HDF5."""
    import h5py

    found: set[str] = set()
    if path.exists():
        try:
            with h5py.File(path, "r") as file:
                file.visititems(lambda name, item: found.add(name) if "samples" in item.attrs else None)
        except OSError as error:
            raise UserError(f"{path}: cannot be read as HDF5 ({error}); remove it, and repeat the command") from error
    return found


FORMATS: dict[str, tuple[str, Callable[[Path, Shape], AbstractContextManager[Write]]]] = {
    "safetensors": (".safetensors", safetensors_file),
    "npz": (".npz", npz_file),
    "hdf5": (".h5", hdf5_file),
}
"""The suffix of each format, and what writes one recording's file."""


def _check(found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"found {found} of {expected} rows or bytes of features at the end of the recording")
