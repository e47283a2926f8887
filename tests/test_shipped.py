"""`shipped.py`: the data folders are found in a checkout and inside an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller import shipped
from s3prl_gendistiller.errors import UserError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder of its own that `shipped` takes for its home."""
    folder = tmp_path / "s3prl_gendistiller"
    folder.mkdir()
    monkeypatch.setattr(shipped, "PACKAGE_DIR", folder)
    return folder


@pytest.mark.parametrize("name", shipped.SHIPPED_FOLDERS)
def test_every_shipped_folder_is_found_here(name: str) -> None:
    found = shipped.shipped_folder(name)
    assert found.is_absolute()
    assert found.is_dir()
    assert any(found.rglob("*.*"))


def test_a_checkout_gives_the_folder_beside_the_package(package: Path) -> None:
    (package.parent / "upstream").mkdir()
    assert shipped.shipped_folder("upstream") == package.parent / "upstream"


def test_a_foreign_folder_beside_an_installed_package_is_not_taken(package: Path) -> None:
    (package.parent / "upstream").mkdir()
    (package / "_shipped" / "upstream").mkdir(parents=True)
    assert shipped.shipped_folder("upstream") == package / "_shipped" / "upstream"


def test_an_installation_without_the_folder_is_named(package: Path) -> None:
    with pytest.raises(UserError, match=r"pretrain_configs: no such folder .*install it again"):
        shipped.shipped_folder("pretrain_configs")


def test_a_name_that_is_not_shipped_is_refused() -> None:
    with pytest.raises(ValueError, match="'docs' is not a shipped folder"):
        shipped.shipped_folder("docs")


def test_a_shipped_name_works_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = shipped.existing_or_shipped("teachers/hubert_guided")
    assert found == shipped.shipped_folder("teachers") / "hubert_guided"
    assert shipped.is_shipped("teachers/hubert_guided")
    for given in ("teachers/nobody", "elsewhere/hubert_guided", str(tmp_path / "teachers")):
        assert shipped.existing_or_shipped(given) == Path(given) and not shipped.is_shipped(given)


def test_what_is_here_comes_before_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teachers" / "hubert_guided").mkdir(parents=True)
    assert shipped.existing_or_shipped("teachers/hubert_guided") == Path("teachers/hubert_guided")
    assert not shipped.is_shipped("teachers/hubert_guided")
    monkeypatch.chdir(shipped.shipped_folder("teachers").parent)
    assert shipped.is_shipped("teachers/hubert_guided")


def test_a_configuration_is_found_under_the_name_that_s3prl_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = shipped.existing_or_shipped("downstream/ctc/libriphone.yaml")
    assert found == shipped.shipped_folder("downstream_runs") / "ctc/libriphone.yaml"
