"""A finished suite that nobody has run: results.json, and runs whose items say how many of them are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s3prl_gendistiller.superb.tasks import TASKS

ITEMS = 40


def write_suite(root: Path, models: dict[str, dict[str, int]]) -> Path:
    """results.json and the runs of models, by the number of items that each has right on each task."""
    students: dict[str, Any] = {}
    for model, tasks in models.items():
        entries = {}
        for task, right in tasks.items():
            folders = [f"{task}-{fold}" for fold in TASKS[task].folds] or [task]
            value = 100 * right / ITEMS
            for name in folders:
                run = root / "runs" / model / name
                run.mkdir(parents=True)
                lines = [f"u{item},{int(item < right)}\n" for item in range(ITEMS)]
                (run / "superb_items.csv").write_text("item,right\n" + "".join(lines))
                tested = {"values": {"acc": value}, "seconds": 1.0, "fallback": None}
                (run / "superb.json").write_text(json.dumps({"settings": {}, "tested": tested}))
            entries[task] = {"values": {"acc": value}, "folders": [f"/moved/runs/{model}/{name}" for name in folders]}
        students[model] = {"upstream": model, "checkpoint": None, "score": None, "cost": None, "tasks": entries}
    content = {"preset": "small", "features": "weighted", "seed": 1, "students": students, "failures": []}
    (root / "results.json").write_text(json.dumps(content))
    return root
