"""Finding s3prl on a `sys.path` of our making."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.locate import HOST_FILES, find_host, is_checkout


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is on `sys.path`."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in [name for name in sys.modules if name.split(".")[0] == "s3prl"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def make_host(root: Path, version: str) -> Path:
    package = root / "s3prl"
    package.mkdir()
    for name in HOST_FILES:
        (package / name).write_text(version + "\n")
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    return package


def test_the_installed_host_is_found():
    host = find_host()
    assert (host.package / "run_downstream.py").is_file()
    assert host.version.startswith("0.4.")


@pytest.mark.parametrize("version", ["0.4.15", "0.4.18", "0.4.20rc1"])
def test_a_supported_version_is_found_without_importing_it(path, version):
    package = make_host(path, version)
    host = find_host()
    assert host.package == package.resolve()
    assert host.version == version
    assert not is_checkout(host.package)
    assert "s3prl" not in sys.modules


@pytest.mark.parametrize("marker", [".git", "setup.py"])
def test_a_source_tree_is_called_a_checkout(path, marker):
    make_host(path, "0.4.18")
    (path / marker).touch()
    assert is_checkout(find_host().package)


@pytest.mark.parametrize("version", ["0.3.4", "0.4.14", "0.5.0", "main"])
def test_another_version_is_refused_with_what_to_do(path, version):
    make_host(path, version)
    with pytest.raises(UserError) as refused:
        find_host()
    for told in (f"found version {version}", "expected >=0.4.15,<0.5", "pip install s3prl==0.4.18"):
        assert told in str(refused.value)


def test_an_absent_host_is_refused_with_what_to_do(path):
    with pytest.raises(UserError, match="found nothing on sys.path.*pip install s3prl==0.4.18"):
        find_host()


def test_a_folder_that_only_bears_the_name_is_refused(path):
    (path / "s3prl").mkdir()  # such as the root of a clone beside the script
    with pytest.raises(UserError, match="found only .*s3prl, without hub.py"):
        find_host()
