"""A suite's table for spreadsheets (CSV) and for papers (LaTeX with booktabs)."""

from __future__ import annotations

import csv
import io

from s3prl_gendistiller.superb.suite.table import COST_HEADER, Table

_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def as_csv(table: Table) -> str:
    """One line for each student; each column of values has mean, standard deviation and number of values, unrounded.

    An empty field is a value that is not there; a standard deviation needs two values.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    costs = COST_HEADER if table.with_cost else ()
    parts = [f"{name}{part}" for name in table.columns for part in ("", ", standard deviation", ", n")]
    writer.writerow(["student", "runs", "distillations", "heads", *costs, *parts])
    for row in table.rows:
        line: list[object] = [row.student, len(row.runs.models), row.runs.distillations, row.runs.heads]
        if table.with_cost:
            cost = row.cost
            line += [""] * len(costs) if cost is None else [cost.parameters, cost.gmacs_per_s, cost.cpu_s_per_s]
        for cell in row.cells:
            line += ["" if value is None else repr(value) for value in (cell.mean, cell.spread)]
            line.append(len(cell.values))
        writer.writerow(line)
    return text.getvalue()


def as_latex(table: Table) -> str:
    """A table environment for ``\\input``; the notes below the table are its caption."""
    header, *rows = [[_escaped(cell) for cell in row] for row in table.texts()]
    names = 1 + table.with_runs
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\begin{{tabular}}{{{'l' * names}{'r' * (len(header) - names)}}}",
        r"\toprule",
        f"{' & '.join(header)} \\\\",
        r"\midrule",
        *(f"{' & '.join(row)} \\\\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        *([rf"\caption{{{' '.join(map(_escaped, table.notes))}}}"] if table.notes else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text).replace(" x ", r" $\times$ ")
