"""What contenders that took turns have shown: table, JSON and chart."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s3prl_gendistiller.outputs import write_text
from s3prl_gendistiller.superb.pictures import chart, legend, notes
from s3prl_gendistiller.superb.suite.table import markdown
from stock.interleaved import Contender
from stock.training import PARTS


def times_as_fast(contender: Sequence[float], reference: Sequence[float]) -> float | None:
    """Median over the rounds of the reference's time over the contender's; None if no round has both."""
    ratios = [other / own for own, other in zip(contender, reference, strict=False)]
    return statistics.median(ratios) if ratios else None


def summary(contender: Contender, references: Sequence[Contender], loader: float | None) -> dict[str, Any]:
    """The entry of a contender in the JSON; seconds are medians over the rounds.

    Args:
        loader: seconds in which its loader gives a batch; None if that was not measured.
    """
    if contender.problem:
        return {"problem": contender.problem}
    seconds = statistics.median(contender.seconds)
    return {
        "steps_per_second": 1 / seconds,
        "seconds_per_step": seconds,
        "cpu_seconds_per_step": statistics.median(contender.cpu_seconds),
        "times_as_fast": {one.name: times_as_fast(contender.seconds, one.seconds) for one in references},
        "times_as_fast_by_cpu_time": {
            one.name: times_as_fast(contender.cpu_seconds, one.cpu_seconds) for one in references
        },
        "peak_gib": contender.peak_gib,
        "parts_seconds": {part: statistics.median(lap[part] for lap in contender.parts) for part in PARTS},
        "loader_seconds_per_batch": loader,
        "rounds": len(contender.seconds),
    }


def table(entries: Mapping[str, dict[str, Any]], references: Sequence[str], *, by_cpu_time: bool) -> str:
    """One row for each contender; shares are of the sum of a step's parts.

    Args:
        entries: `summary` of each.
        by_cpu_time: put the ratios of CPU times in parentheses.
    """
    header = ["", "steps per s", *(f"times as fast as {name}" for name in references), "peak GiB"]
    rows = [[*header, *PARTS, "loader, s a batch"]]
    for name, entry in entries.items():
        if "problem" in entry:
            rows.append([name, entry["problem"], *[""] * (len(rows[0]) - 2)])
            continue
        row = [name, f"{entry['steps_per_second']:.3f}"]
        for other in references:
            text = _number(entry["times_as_fast"][other], 2)
            cpu = _number(entry["times_as_fast_by_cpu_time"][other], 2)
            row.append(f"{text} ({cpu})" if text and by_cpu_time else text)
        whole = sum(entry["parts_seconds"].values())
        shares = [f"{entry['parts_seconds'][part] / whole:.0%}" for part in PARTS]
        rows.append([*row, _number(entry["peak_gib"], 2), *shares, _number(entry["loader_seconds_per_batch"], 3)])
    return markdown(rows)


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def write(out: Path, text: str, content: Mapping[str, Any]) -> None:
    """Writes the Markdown, and the JSON beside it."""
    write_text(out, text)
    write_text(out.with_suffix(".json"), json.dumps(content, indent=1) + "\n")


def draw(out: Path, entries: Mapping[str, dict[str, Any]], reference: str, about: str) -> None:
    """Draws the seconds of a step of each contender, part by part, with its ratio to the reference."""
    measured = {name: entry for name, entry in entries.items() if "problem" not in entry}
    colours = {part: f"C{number}" for number, part in enumerate(PARTS)}
    with chart(out, 8.0, 1.2 + 0.45 * len(measured)) as (axis,):
        for row, entry in enumerate(measured.values()):
            # parts were timed apart from whole steps where the device had to be waited for
            scale = entry["seconds_per_step"] / sum(entry["parts_seconds"].values())
            left = 0.0
            for part, colour in colours.items():
                width = entry["parts_seconds"][part] * scale
                axis.barh(row, width, left=left, color=colour)
                left += width
            if (ratio := entry["times_as_fast"].get(reference)) is not None:
                axis.text(left, row, f"  {ratio:.2f}x", va="center", fontsize=9)
        axis.set_yticks(range(len(measured)), list(measured))
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set_xlabel("seconds of an optimiser step (less is faster)")
        legend(axis, {part: {"color": colour, "linewidth": 6} for part, colour in colours.items()})
        notes(axis, [about])
