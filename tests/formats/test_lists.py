"""Lines of a name and the rest, and lists of fields: what is empty is skipped, what is misshapen is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.lists import misshapen_line, read_csv, read_table


def test_a_table_ends_a_name_at_white_space_and_a_transcript_at_a_space(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("\ufeffb\t/a folder/x.wav \n\n  a BOS RED EOS\tO colour\nalone\n")
    assert read_table(path) == [("b", "/a folder/x.wav"), ("a", "BOS RED EOS\tO colour"), ("alone", "")]
    assert read_table(path, " ")[0] == ("b\t/a", "folder/x.wav")


def test_the_first_line_of_another_form_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("1 a\n\n1 b c\n1\n")
    assert list(misshapen_line(path, 2, "LABEL PATH")) == [f"{path} line 2: found '1 b c', expected LABEL PATH"]
    assert list(misshapen_line(path, 3, "")) != []


def test_columns_are_read_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('\ufeffpath,words\na.wav,"red, blue"\n')
    assert list(read_csv(path)) == [{"path": "a.wav", "words": "red, blue"}]
    path.write_bytes(b"path\n\xff\n")
    with pytest.raises(UserError, match="table.csv line 2: found byte 0xff, expected UTF-8"):
        read_csv(path)
