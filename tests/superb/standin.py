"""What stands for run_downstream.py in tests of what runs it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.cost import multiply_adds
from s3prl_gendistiller.superb.cost.multiply_adds import Cost
from s3prl_gendistiller.superb.models import BenchmarkedModel
from s3prl_gendistiller.superb.suite import processes

FBANK = BenchmarkedModel("fbank", "fbank")


class Host:
    """Stands for run_downstream.py: dev is best at a learning rate of 0.001, layer 1 is the best."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.broken: set[str] = set()  # parts of a folder's name whose runs fail
        self.accuracy: str | None = None  # on test, in place of the usual one

    def __call__(self, arguments: Sequence[str], log: Path) -> None:
        command = list(arguments)
        self.commands.append(command)
        if any(part in str(log) for part in self.broken):
            raise UserError("ended with status 1")
        text = " ".join(command)
        if command[1] == "train":
            dev = 0.9 if "lr=0.001" in text else 0.5
            with log.open("a") as file:
                file.write(f"dev acc: {dev}\ndev-clean wer: {100 - 100 * dev}\n")
            self.save(text, log.parent)
        elif "quesst14_dtw" in text:
            found, missed = ("d1", "d2") if "-l 1" in text else ("d2", "d1")
            terms = f'<term file="{found}" score="1"/><term file="{missed}" score="0"/>'
            xml = f'<s><detected_termlist termid="q">{terms}</detected_termlist></s>'
            (log.parent / "benchmark.stdlist.xml").write_text(xml)
            log.write_text("")
        else:
            number = next((int(part[-1]) for part in log.parent.name.split("-") if part.startswith("fold")), 5)
            eer = 0.3 if "states-4.ckpt" in text else 0.2
            eer /= 2 if "lr0.001" in log.parent.name else 1
            (log.parent / "test_predict.txt").write_text(f"{eer}\n")
            printed = {"test acc": self.accuracy or number / 10, "sv-voxceleb1/test-EER": eer}
            printed |= {"test-clean wer": 12.5, "test-clean uer": 4.0}
            log.write_text("".join(f"{name}: {value}\n" for name, value in printed.items()))

    def replace_processes(self, monkeypatch: pytest.MonkeyPatch, size: tuple[int, float]) -> None:
        """Puts this stand-in, and made up costs, in place of what starts processes and loads models.

        Args:
            size: parameters of each model, and its billions of multiply-adds per second of audio.
        """

        @contextlib.contextmanager
        def running(*_: Any) -> Iterator[Host]:
            yield self

        monkeypatch.setattr(processes, "running", running)
        monkeypatch.setattr(multiply_adds, "size", lambda model: size)
        monkeypatch.setattr(multiply_adds, "measure", lambda given: {one.name: Cost(100, 1.5, 0.1) for one in given})

    def save(self, text: str, folder: Path) -> None:
        """The best checkpoint and, as s3prl does, the newest `max_keep` of those after every `save_step` steps."""
        total, every, keep = (
            int([default, *re.findall(rf"runner\.{key}=(\d+)", text)][-1])
            for key, default in (("total_steps", "4"), ("save_step", "4"), ("max_keep", "10"))
        )
        for step in range(every, total + 1, every):
            torch.save({"Step": step}, folder / f"states-{step}.ckpt")
        for name in ("dev-best.ckpt", "dev-clean-best.ckpt"):
            torch.save({"Step": total}, folder / name)
        for old in sorted(folder.glob("states-*.ckpt"), key=lambda path: int(path.stem[7:]))[:-keep]:
            old.unlink()

    def trained(self) -> list[str]:
        return [Path(command[command.index("-p") + 1]).name for command in self.commands if command[1] == "train"]
