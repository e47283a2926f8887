"""RTTM: turns of speakers and occurrences of words, each from the lines of its type."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.rttm import Turn, read_occurrences, read_turns

TEXT = """\
;; a comment
SPEAKER mix 1 0.50 0.30 <NA> <NA> anna <NA>
LEXEME doc1 1 0.0 9.4 query7 lex <NA> <NA>
SPEAKER other 1 0 1 <NA> <NA> bert <NA> <NA>
SPEAKER mix 1 1.00 0.50 <NA> <NA> bert <NA>
LEXEME doc2 1 0.0 9.4 query7 lex <NA> <NA>
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "rttm").write_text(TEXT)
    return tmp_path / "rttm"


def test_turns_have_their_ends(path: Path) -> None:
    found = read_turns(path)
    assert found == {"mix": [Turn("anna", 0.5, 0.8), Turn("bert", 1.0, 1.5)], "other": [Turn("bert", 0.0, 1.0)]}


def test_a_word_occurs_in_documents(path: Path) -> None:
    assert read_occurrences(path) == {"query7": {"doc1", "doc2"}}


@pytest.mark.parametrize("line", ["SPEAKER mix 1 zero 0.2 <NA> <NA> anna", "SPEAKER mix 1 0.0 0.2"])
def test_a_broken_line_is_named(line: str, path: Path) -> None:
    path.write_text(f"{TEXT}{line}\n")
    with pytest.raises(UserError, match=f"rttm line 7: found '{line}', expected SPEAKER RECORDING 1 START SECONDS"):
        read_turns(path)
    assert read_occurrences(path)  # of lines of another type
