"""Files of features are read by the libraries of their formats, and are whole or not there."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.inference.feature_files import FORMATS, Shape, join_hdf5, names_in_hdf5

NAMES = ("hidden_0", "hidden_2")
ROWS = np.random.default_rng(0).standard_normal((2, 11, 6)).astype(np.float32)


def shape(dtype: str = "float32", frames: int = 11) -> Shape:
    return Shape(NAMES, frames, 6, dtype, 3_700)


def read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_come_back_as_they_were_written_in_portions(name: str, dtype: str, tmp_path: Path) -> None:
    suffix, write_file = FORMATS[name]
    path = tmp_path / f"deep/a{suffix}"
    with write_file(path, shape(dtype)) as write:
        for first, last in ((0, 4), (4, 5), (5, 11)):
            write(ROWS[:, first:last])
        assert not path.exists()
    found = read(path)
    assert tuple(found) == NAMES
    for array, rows in zip(found.values(), ROWS, strict=True):
        assert array.dtype == np.dtype(dtype) and np.array_equal(array, rows.astype(dtype))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_samples_are_stated(tmp_path: Path) -> None:
    with FORMATS["safetensors"][1](tmp_path / "a.safetensors", shape()) as write:
        write(ROWS)
    with safe_open(tmp_path / "a.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "samples": "3700"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_not_finished_is_not_there(name: str, tmp_path: Path) -> None:
    suffix, write_file = FORMATS[name]
    with pytest.raises(RuntimeError, match="of features at the end"), write_file(tmp_path / f"a{suffix}", shape()) as w:
        w(ROWS[:, :5])
    with pytest.raises(KeyboardInterrupt), write_file(tmp_path / f"a{suffix}", shape()) as w:
        w(ROWS)
        raise KeyboardInterrupt
    assert not [*tmp_path.iterdir()]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), write_file(tmp_path / f"file/a{suffix}", shape()) as w:
        w(ROWS)


def test_hdf5_files_are_joined_beside_what_is_there(tmp_path: Path) -> None:
    parts = {}
    for index, name in enumerate(("x/a", "b")):
        parts[name] = tmp_path / f"{index}.h5"
        with FORMATS["hdf5"][1](parts[name], shape()) as write:
            write(ROWS + index)
    joined = tmp_path / "features.h5"
    join_hdf5(joined, {"x/a": parts["x/a"]})
    join_hdf5(joined, parts)
    assert names_in_hdf5(joined) == {"x/a", "b"} and names_in_hdf5(tmp_path / "none.h5") == set()
    with h5py.File(joined) as file:
        assert np.array_equal(file["b/hidden_2"][()], ROWS[1] + 1) and file["x/a"].attrs["samples"] == 3_700
    joined.write_bytes(b"x")
    with pytest.raises(UserError, match=r"features\.h5: cannot be read as HDF5"):
        names_in_hdf5(joined)
