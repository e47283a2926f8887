"""The tables of an ablation by tasks: scores, what the distance to the teacher predicts, each form beside its control.

The scores are those of results.json as `superb.suite.results.read_content` returns it, here called `results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miniature.control import control_table
from miniature.correlation import correlation_table
from miniature.scores import Form, columns, score_table


def tables(results: Mapping[str, Any], suite: Path, forms: Mapping[str, Form], control: str) -> str:
    """The three tables of an ablation, as Markdown: scores, rank correlation with the distance, forms and control.

    Args:
        results: content of results.json of the folder `suite`.
        control: the form with which each other form is compared, one of `forms`.
    """
    shown = columns(results, forms)
    return "\n".join(
        [
            score_table(results, forms, shown),
            correlation_table(results, forms, shown),
            control_table(results, suite, forms, control, shown),
        ]
    )
