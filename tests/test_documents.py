"""What a hostile or careless file can do to its reader, and what right files say."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from s3prl_gendistiller.documents import DEPTH, parse_json, parse_yaml, read_json, read_yaml
from s3prl_gendistiller.errors import UserError

LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], y{n}: 1}}\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: " + "[" * 20_000, f"nested too deep for YAML of at most {DEPTH} levels"),
        ("a:\n" + "".join(" " * n + "b:\n" for n in range(1, 300)), "nested too deep"),
        ("a: &a [*a]", "nested too deep"),
        ("a: &a {b: *a}", "nested too deep"),
        ("a: &a {<<: *a}", "nested too deep"),
        (LAUGHS, "found more than 100,000 entries"),
        (MERGES, "found more than 100,000 entries"),
        ("a: " + "9" * 5000, "expected a finite number of at most 19 digits"),
        ("a: 0x" + "f" * 5000, "expected a finite number"),
        ("a: " + "1:" * 5000 + "1", "expected a finite number"),
        ("b: 1\na: .nan", "found .nan in line 2, expected a finite number"),
        ("a: -.inf", "found -.inf in line 1"),
        ("a: 1.0e+999", "found 1.0e+999 in line 1"),
        ("a: 1\na: 2", "found the key 'a' twice"),
        ("a: {b: 1, b: 2}", "found the key 'b' twice"),
        ("1: a", "found 1 as a key in line 1, expected text; put the key in quotes"),
        ("b: {on: a}", "found True as a key"),
        ("null: a", "found None as a key"),
        ("? [a, b]\n: c", "found ['a', 'b'] as a key"),
        ("a: !!python/object/apply:os.system [id]", "found tag:yaml.org,2002:python/object/apply:os.system in line 1"),
        ("a: !!python/name:os.system", "python/name:os.system"),
        ("a: !!binary aGk=", "found tag:yaml.org,2002:binary"),
        ("a: !!set {b, c}", "found tag:yaml.org,2002:set"),
        ("a: !mine 1", "found !mine"),
        ("a: *b", "undefined alias"),
        ("a: {<<: 1}", "found << without a mapping"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: \x00", "not readable as YAML"),
        ("[1, 2]", "found a list, expected a mapping"),
        ("hello", "found 'hello', expected a mapping"),
        ("", "found nothing in it"),
        ("# nothing\n", "found nothing in it"),
        ("a: [1", "not readable as YAML"),
    ],
)
def test_a_yaml_that_is_no_plain_data_is_refused_at_once(text: str, expected: str) -> None:
    before = time.process_time()
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "my.yaml")
    assert time.process_time() - before < 5
    message = str(caught.value)
    assert message.startswith("my.yaml: ") and expected in message and "\n" not in message and len(message) < 500


def test_a_yaml_of_plain_data_says_what_yaml_says() -> None:
    text = "base: &b {lr: 1.0e-4, name: Adam}\na: {<<: *b, lr: 2}\nc: [1, 2.5, yes, null, '3', 2024-01-01, 0x10]\nd: *b"
    assert parse_yaml(text, "x") == {
        "base": {"lr": 1e-4, "name": "Adam"},
        "a": {"lr": 2, "name": "Adam"},
        "c": [1, 2.5, True, None, "3", "2024-01-01", 16],
        "d": {"lr": 1e-4, "name": "Adam"},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 100_000, "nested too deep for JSON"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested too deep for JSON"),
        ('{"a": ' + "9" * 5000 + "}", "found a whole number of 5000 digits"),
        ('{"a": NaN}', "found NaN, expected a finite number"),
        ('{"a": -Infinity}', "found -Infinity"),
        ('{"a": 1e999}', "found 1e999"),
        ('{"a": 1, "a": 2}', "found the key 'a' twice"),
        ("", "not readable as JSON"),
        ("{'a': 1}", "not readable as JSON"),
    ],
)
def test_a_json_that_is_no_plain_data_is_refused(text: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_json(text, "results.json")
    assert str(caught.value).startswith("results.json: ") and expected in str(caught.value)


def test_a_json_of_plain_data_is_read() -> None:
    assert parse_json('{"a": [1, -2.5e-3, true, null, {"b": "c"}]}', "x") == {"a": [1, -2.5e-3, True, None, {"b": "c"}]}


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_what_is_no_plain_file_is_named_and_not_waited_for(tmp_path: Path, read: object) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "latin").write_bytes("name: Zoë".encode("latin-1"))
    (tmp_path / "large").write_bytes(b" " * (2**18 + 1) if read is read_yaml else b"")
    for name, expected in (
        ("none", "no such file"),
        (".", "found a folder"),
        ("fifo", "found a pipe or a device"),
        ("latin", "not UTF-8 at byte 8"),
        ("large", "expected a YAML" if read is read_yaml else "not readable as JSON"),
    ):
        with pytest.raises(UserError, match=expected):
            read(tmp_path / name)  # type: ignore[operator]


def test_a_byte_order_mark_and_a_home_folder_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_yaml("~/a.yaml") == read_json(tmp_path / "a.json") == {"a": 1}
