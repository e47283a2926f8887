"""The page of a board: data cannot leave their block, the policy names every script, and foreign files are kept."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.board import page
from s3prl_gendistiller.superb.board.suites import read_suites
from tests.superb.board.made import with_everything

EVIL = "</script><script>alert(1)</script><!-- @SCRIPT@ \u2028 & <img src=https://example.org/x>"


class _Elements(HTMLParser):
    """Elements with their attributes, and the texts of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.texts:
            self.texts[tag].append("")
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside][-1] += data


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_libraries", lambda: "window.vegaEmbed = () => 0; '</script>'")


def test_data_of_others_stay_in_their_block(tmp_path: Path) -> None:
    text = page.page({"rows": [{"name": EVIL}]})
    found = _Elements(text)
    assert json.loads(found.texts["script"][0]) == {"rows": [{"name": EVIL}]}
    assert len(found.texts["script"]) == 3 and "alert" not in found.texts["script"][2]
    assert not [tag for tag, _ in found.elements if tag in ("img", "link", "iframe", "object", "base")]
    whole = page.board(read_suites(with_everything(tmp_path)), None)
    assert (
        "<b>name" not in whole
        and "onerror=alert(1)\\u003e" in whole
        and json.loads(_Elements(whole).texts["script"][0])["rows"]
    )


def test_the_policy_names_the_scripts_and_the_style_and_forbids_all_else() -> None:
    text = page.page({})
    found = _Elements(text)
    policy = next(attrs["content"] for tag, attrs in found.elements if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    for element in (*found.texts["script"][1:], *found.texts["style"]):
        assert base64.b64encode(hashlib.sha256(element.encode()).digest()).decode() in policy
    assert not [attrs for _, attrs in found.elements if {"src", "href", "style"} & attrs.keys()]
    assert not [name for _, attrs in found.elements for name in attrs if name.startswith("on")]


def test_scripts_write_text_and_no_html() -> None:
    own = "".join((page.HERE / name).read_text() for name in page.SCRIPTS)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|fetch\(|XMLHttp", own)


def test_a_board_is_replaced_and_another_file_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "board.html"
    page.write_board(out, page.page({}), overwrite=False)
    page.write_board(out, page.page({"rows": []}), overwrite=False)
    out.write_text("<html>mine</html>")
    with pytest.raises(UserError, match="found a file that is no board; give another name, or add --overwrite"):
        page.write_board(out, page.page({}), overwrite=False)
    assert out.read_text() == "<html>mine</html>"
    page.write_board(out, page.page({}), overwrite=True)
    assert page.is_board(out) and [path.name for path in tmp_path.iterdir()] == ["board.html"]


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match=r"s3prl-gendistiller\[board\]"):
        page.page({})
