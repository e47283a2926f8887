from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.paths import expand, expand_tree


def test_superb_data_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "LibriSpeech").mkdir()
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    assert expand("${SUPERB_DATA}/LibriSpeech", "libri_root") == str(tmp_path / "LibriSpeech")


def test_an_unset_variable_names_itself_the_folder_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERB_DATA", raising=False)
    with pytest.raises(UserError, match="libri_root: .*SUPERB_DATA is not set.*SUPERB_DATA/LibriSpeech.*ler corpus"):
        expand("${SUPERB_DATA}/LibriSpeech", "libri_root")


def test_a_wrong_variable_names_the_folder_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERB_DATA", str(tmp_path))
    with pytest.raises(UserError, match=rf"looked for {tmp_path}/LibriSpeech.*SUPERB_DATA.*gendistiller corpus"):
        expand("${SUPERB_DATA}/LibriSpeech", "libri_root")


def test_any_other_variable_is_refused() -> None:
    with pytest.raises(UserError, match=r"found \$\{HOME\}"):
        expand("${HOME}/x", "key")


def test_a_tree_is_filled_in_and_nothing_else_is_touched(tmp_path: Path) -> None:
    (tmp_path / "char.dict").touch()
    content = {"a": ["${HERE}/char.dict", 3, None], "b": {"c": "plain"}}
    expected = {"a": [str(tmp_path / "char.dict"), 3, None], "b": {"c": "plain"}}
    assert expand_tree(content, "", here=tmp_path) == expected
