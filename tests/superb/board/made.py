"""Suites for a board that nobody has run: results.json with planted numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s3prl_gendistiller.superb.leaderboard.published_models import PUBLISHED

WHOLE = next(model for model in PUBLISHED if model.name == "DistilHuBERT").values
"""Values of all ten tasks, whose score is 717."""


HOSTILE = "small <b>name <img src=x onerror=alert(1)> &amp;"
"""The folder of a suite, which a page shows as it stands here."""


def student(tasks: dict[str, dict[str, float]], parameters: int | None = 1_600_000, **more: Any) -> dict[str, Any]:
    """An entry of ``students``; `more` are its own keys, and ``of_tasks`` adds keys to each of its outcomes."""
    of_tasks = more.pop("of_tasks", {})
    cost = (
        None if parameters is None else {"parameters": parameters, "gmacs_per_s": parameters / 4e6, "cpu_s_per_s": 0.01}
    )
    outcomes = {name: {"values": values, **of_tasks.get(name, {})} for name, values in tasks.items()}
    return {
        "upstream": "gendistiller_local",
        "checkpoint": None,
        "cost": cost,
        "score": None,
        "tasks": outcomes,
        **more,
    }


def suite(folder: Path, students: dict[str, Any], **settings: Any) -> Path:
    """The folder of a suite of the small preset on synthetic speech, unless `settings` say otherwise."""
    folder.mkdir(parents=True)
    given = {"preset": "small", "features": "weighted", "seed": 1, "synthetic": True, **settings}
    content = {**{key: value for key, value in given.items() if value is not None}, "students": students}
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def with_everything(root: Path, many: int = 4) -> list[Path]:
    """Two suites: one at official settings, one with `many` students of two seeds, steps, searches and a training."""
    official = suite(root / "official", {"mine": student(WHOLE, 17_598_592)}, preset="official", synthetic=None)
    search = {"lr": 0.003, "trials": {"0.01": {"100": 50.0, "400": 52.0}, "0.003": {"100": 48.0, "400": 61.0}}}
    run = root / "run"
    run.mkdir()
    lines = [{"split": split, "step": step, "loss": 1 / step} for step in range(1, 500) for split in ("train", "valid")]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    students: dict[str, Any] = {}
    for steps in (1, 2, None):
        found = {"ks": {"acc": 70.0 + (steps or 3)}}
        students[f"stop{steps or 'all'}"] = student(
            found, checkpoint=str(run / "states-9.ckpt"), steps=steps, of_tasks={"ks": search}
        )
    for number in range(many):
        tasks = {"ks": {"acc": 60 + number / many}, "pr": {"per": 20 + number / many}, "er": {"acc": 50.0}}
        for seed in ("", "+seed2"):
            tasks = {**tasks, "sid": {"acc": 40.0 + number / many + len(seed)}}
            students[f"student_{number:03}{seed}"] = student(tasks, 1_000_000 + 7000 * number)
    return [suite(root / HOSTILE, students), official]
