"""The page of a board: its data, styles, scripts and charts in one file that asks the network for nothing.

Names of students, suites and files are data of others. They stand in a JSON block in which ``<`` is escaped, and the
scripts write them as text. The page's policy (Content-Security-Policy) allows the two scripts and the style below by
their hashes, and forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller._version import __version__
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.board import curves, rows, significance
from s3prl_gendistiller.superb.board.suites import FinishedSuite
from s3prl_gendistiller.superb.leaderboard.published_models import DRAWN_FROM
from s3prl_gendistiller.superb.suite.replicas import replicas

HERE = Path(__file__).parent
MARK = '<meta name="generator" content="gendistiller board'
"""The beginning of a line by which a page of ours is known."""
_HEAD_BYTES = 4096
SCRIPTS = ("table.js", "charts.js", "figures.js")


def board(suites: Sequence[FinishedSuite], control: str | None) -> str:
    """The whole page; `control` is the student against which all others of its suites are marked, None for no marks.

    Raises:
        UserError: vl-convert-python is not installed, or `significance.marks` has no student to compare.
    """
    return page(content(suites, control))


def content(suites: Sequence[FinishedSuite], control: str | None) -> dict[str, Any]:
    """The data of the page."""
    trained, problems = curves.trainings(suites)
    return {
        "version": __version__,
        "drawn": DRAWN_FROM,
        "columns": rows.columns(suites),
        "groups": rows.groups(suites),
        "rows": rows.rows(suites),
        "searches": curves.searches(suites),
        "trainings": trained,
        "compare": None if control is None else significance.marks(suites, control),
        "notes": [*_notes(suites), *problems],
    }


def page(data: dict[str, Any]) -> str:
    """The page of these data."""
    style = _file("page.css")
    libraries = script(_libraries())
    own = script("\n".join(map(_file, SCRIPTS)))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(libraries)} {_hash(own)}",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    parts = {
        "POLICY": policy,
        "VERSION": __version__,
        "STYLE": style,
        "DATA": embedded(data),
        "LIBRARIES": libraries,
        "SCRIPT": own,
    }
    return re.sub("@([A-Z]+)@", lambda place: parts[place[1]], _file("page.html"))


def write_board(path: Path, text: str, *, overwrite: bool) -> None:
    """Writes the page whole. UserError if the file is there, is no board of ours, and `overwrite` is not given."""
    check_replaceable(path, overwrite=overwrite)
    write_text(path, text)


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """UserError for a file that is no board of ours, unless `overwrite` is given."""
    if path.exists() and not overwrite and not is_board(path):
        raise UserError(f"--out {path}: found a file that is no board; give another name, or add --overwrite")


def is_board(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(_HEAD_BYTES)
    except OSError as error:
        raise UserError(f"--out {path}: cannot be read ({error.strerror or error}); give another name") from error


def embedded(data: Any) -> str:
    """JSON that cannot end its script element, whatever text it holds; numbers are finite."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def script(text: str) -> str:
    """A script with names of its own, which cannot end its element: only literals hold such signs."""
    safe = text.replace("\r", "\\r").replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return f"(() => {{\n{safe}\n}})();"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _libraries() -> str:
    """Vega, Vega-Lite and vega-embed in one script, which vl-convert makes without the network."""
    try:
        import vl_convert
    except ImportError as error:
        raise UserError(
            'vl-convert-python is missing, which the board needs; install: pip install "s3prl-gendistiller[board]"'
        ) from error
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _notes(suites: Sequence[FinishedSuite]) -> list[str]:
    """Lines on the spread, on what is not comparable, and on scales of scores."""
    found = []
    counts = [len(replicas(models).models) for one in suites for models in one.suite.groups().values()]
    if any(count > 1 for count in counts):
        found.append(
            "±: sample standard deviation over all runs of a row: distillations (training seeds of the student) and "
            "heads (seeds of the task's head). n: number of values, where that is not the row's number of runs."
        )
    apart = [one for one in suites if not one.comparable]
    if apart:
        names = "; ".join(f"{one.label}: {one.origin}" for one in apart)
        found.append(
            f"{names}. These numbers are not comparable with published ones, so that they stand in groups of their "
            "own, are sorted among themselves, and share no chart with published rows."
        )
    if any(score is not None for one in apart for score in one.scores.values()):
        found.append("The score of such a group is 0 for its own lower reference and 1000 for its own upper reference.")
    found.append(
        "The leaderboard's score is 0 for FBANK and 1000 for the best model of 2021, and is the mean over ten tasks. "
        "Multiply-adds are billions per second of audio; published ones were divided by the 224.86 s of the protocol."
    )
    return found
