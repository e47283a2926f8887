"""Parts of the kit: each a process with a time limit, a log, and a row in the results."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GRACE = 6.0  # seconds that a process gets at its time limit to end itself
TAIL = 25  # lines of a log that the results repeat
LARGEST_LOG = 4_000_000  # bytes
LOG = "log.txt"
PASSED = "passed"
_OUTCOME = re.compile(
    r"(tests/\S+?)(?:\s|$).*?(PASSED|FAILED|ERROR|SKIPPED)|(PASSED|FAILED|ERROR|SKIPPED)\s+(tests/\S+)"
)


@dataclass(frozen=True)
class Part:
    """One part of the kit.

    Attributes:
        weight: its share of the time, relative to the parts that follow.
        command: words after the interpreter.
        folder: in which the command runs.
        found: folder in which the command writes its results, NAME.json and perhaps NAME.md.
        minutes: the command has a flag --minutes, by which it ends itself before its limit.
    """

    name: str
    weight: float
    command: Sequence[str]
    folder: Path
    found: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    minutes: bool = False


class Results:
    """What is known so far, in results.json and results.md of a folder."""

    def __init__(self, folder: Path, facts: Mapping[str, str], began: float) -> None:
        self.folder = folder
        self.facts = dict(facts)
        self.began = began
        self.rows: dict[str, dict[str, Any]] = {}
        self._texts: dict[str, str] = {}
        self._write()

    @property
    def all_passed(self) -> bool:
        return all(row["status"] == PASSED for row in self.rows.values())

    def add(self, part: Part, status: str, seconds: float, limit: float, output: str = "") -> None:
        """Adds the row of a part, whose `output` is what its process has printed."""
        row: dict[str, Any] = {"status": status, "seconds": round(seconds, 1), "limit": round(limit, 1)}
        lines = output.splitlines()
        if status != PASSED:
            row["tail"] = lines[-TAIL:]
        if part.name == "tests":
            row["tests"] = outcomes(lines)
        else:
            row["result"] = _read(part.found / f"{part.name}.json")
        text = part.found / f"{part.name}.md"
        if text.is_file():
            self._texts[part.name] = text.read_text(errors="replace").rstrip()
        self.rows[part.name] = row
        self._write()

    def text(self) -> str:
        """Markdown: the machine, a row for each part, and what each part has found."""
        lines = ["# GPU kit", "", *(f"- {name}: {value}" for name, value in self.facts.items())]
        lines += ["", "| part | status | seconds | limit |", "|---|---|---|---|"]
        lines += [f"| {n} | {row['status']} | {row['seconds']} | {row['limit']} |" for n, row in self.rows.items()]
        for name, row in self.rows.items():
            lines += ["", f"## {name}", ""]
            if "tests" in row:
                found = list(row["tests"].values())
                lines.append(
                    ", ".join(f"{found.count(kind)} {kind.lower()}" for kind in sorted(set(found))) or "none ran"
                )
                lines += [f"- {kind}: {test}" for test, kind in row["tests"].items() if kind != "PASSED"]
            if name in self._texts:
                lines.append(self._texts[name])
            elif row.get("result"):
                lines += table(row["result"])
            if "tail" in row:
                lines += ["", "```", *row["tail"], "```"]
        return "\n".join(lines) + "\n"

    def _write(self) -> None:
        content = {"began": self.began, "facts": self.facts, "parts": self.rows}
        (self.folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
        (self.folder / "results.md").write_text(self.text())


def table(result: Mapping[str, Any]) -> list[str]:
    """Rows of a table with the numbers and texts of a dictionary of dictionaries."""
    lines = ["| | | |", "|---|---|---|"]
    for stage, values in result.items():
        for name, value in (values if isinstance(values, dict) else {"": values}).items():
            if not isinstance(value, list | dict):
                shown = f"{value:.4g}" if isinstance(value, float) else value
                lines.append(f"| {stage} | {name} | {shown} |")
    return lines


def outcomes(lines: Sequence[str]) -> dict[str, str]:
    """The outcome of each test in the output of ``pytest -v``, with and without worker processes."""
    found: dict[str, str] = {}
    for line in lines:
        if match := _OUTCOME.search(line):
            name, kind = (match[1], match[2]) if match[1] else (match[4], match[3])
            found[name] = kind
    return found


def run_part(part: Part, limit: float, results: Results) -> None:
    """Runs a part for at most `limit` seconds and adds its row."""
    command = list(part.command)
    if part.minutes:
        command += ["--minutes", f"{max(0.1, (limit - 20) / 60):.2f}"]
    print(f"{part.name}: at most {limit:.0f} s", flush=True)
    began = time.time()
    log = results.folder / LOG
    before = log.stat().st_size if log.is_file() else 0
    process = start_process(command, part.folder, log, part.environment)
    try:
        status = process.wait(max(1.0, limit - GRACE))
        outcome = PASSED if status == 0 else f"failed with status {status}"
    except subprocess.TimeoutExpired:
        outcome = "ended at its time limit"
    finally:
        stop(process)
    results.add(part, outcome, time.time() - began, limit, shortened(log, before))
    print(f"{part.name}: {outcome}, {time.time() - began:.0f} s", flush=True)


def start_process(
    command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """This interpreter with the words of `command`, in a session of its own; its output goes to `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_hear_sigint,
        )


def _hear_sigint() -> None:
    """Undoes what a shell does to a command with `&` and to nohup's: its processes ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it has started; pytest reports its failed tests at SIGINT."""
    for number, seconds in ((signal.SIGINT, GRACE / 2), (signal.SIGTERM, GRACE / 3)):
        if process.poll() is None:
            process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def shortened(log: Path, before: int) -> str:
    """What was added to a log since it had `before` bytes; of a long output, the log keeps the end."""
    with log.open("rb+") as file:
        file.seek(before)
        added = file.read()[-LARGEST_LOG:]
        file.seek(before)
        file.truncate()
        file.write(added)
    return added.decode(errors="replace")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
