"""Legends, notes and marks of cut axes, as matplotlib's figure holds them before it is closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from s3prl_gendistiller.superb.pictures import chart, cut_axes, legend, notes


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def test_a_legend_and_notes_stand_outside_of_the_panels_and_are_read_row_by_row(tmp_path: Path) -> None:
    with chart(tmp_path / "a.png", 5, 3, panels=2) as axes:
        for axis in axes:
            axis.plot([1, 2], [3, 4])
        legend(axes[0], {"a": {}, "b": {}, "c": {}}, {"$x": {"linestyle": "--"}, "y": {}})
        notes(axes[0], ["a line of $x, " * 20, "another line"])
        figure = axes[0].figure
        figure.draw_without_rendering()
        outside = [figure.legends[0].get_window_extent(), figure._supxlabel.get_window_extent()]
        assert not any(box.overlaps(axis.get_tightbbox()) for box in outside for axis in axes)
        assert all(box.x0 >= 0 and box.y0 >= 0 for box in outside)
    assert len(figure.legends) == 1
    assert words(figure) == ["a", r"\$x", "b", "y", "c"]  # column by column: a b c stand above $x y
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_vertical_axis_that_does_not_begin_at_0_is_said(tmp_path: Path) -> None:
    with chart(tmp_path / "a.png", 3, 3, panels=2) as (first, second):
        first.plot([0, 1], [5, 6])
        second.bar([0, 1], [5, 6])
        assert cut_axes([first]) == ["The vertical axis does not begin at 0."]
        assert cut_axes([first, second]) == ["Some vertical axes do not begin at 0."]
        assert cut_axes([second]) == []


def test_a_picture_that_fails_is_closed_and_leaves_no_file(tmp_path: Path) -> None:
    before = pyplot.get_fignums()
    with pytest.raises(ValueError, match="broken"), chart(tmp_path / "a.png", 3, 3):
        raise ValueError("broken")
    assert pyplot.get_fignums() == before and list(tmp_path.iterdir()) == []
