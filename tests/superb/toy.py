"""A task that SUPERB does not have, as a new one is added: a file with `TASK`, and its configurations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.errors import few
from s3prl_gendistiller.formats.lists import read_table
from s3prl_gendistiller.superb.corpus.sizes import Amount, Corpus, Speech
from s3prl_gendistiller.superb.corpus.source import Source
from s3prl_gendistiller.superb.tasks.base import Metric, Task
from s3prl_gendistiller.superb.tasks.needs import AudioFolder, Config, Files, Listing, Need
from s3prl_gendistiller.superb.tasks.predictions import Expected, Lines, Submission, present


class Toy(Task):
    def need(self, config: Config) -> Need:
        root = Path(config["datarc"]["toys"])
        audio = [AudioFolder(name, root / name, amount) for name, amount in self.corpus.parts.items()]
        return Need(self, (root,), audio, [Listing(root / "labels")], config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        path = need.listings[0].path
        labels = dict(read_table(path)) if path.is_file() else {}
        lacking = [file for audio in need.audio for file in files(audio) if file.stem not in labels]
        if lacking:
            yield f"{path}: no line for {few(lacking)}"

    def test_set(self, config: Config, fold: str = "") -> Expected:
        root = Path(config["datarc"]["toys"])
        return Expected(root, sorted(file.stem for file in present(root / "test").iterdir()))


def toy(configs: Path) -> Toy:
    """The task, whose configurations are in a folder."""
    return Toy(
        name="toy",
        title="counting toys",
        downstream="speech_commands",
        configs=(f"{configs}/small.yaml", f"{configs}/config.yaml"),
        metrics=(Metric("acc", "toys %", True, "acc"),),
        corpus=Corpus("Toys", Source("the nursery"), {"train": Amount(3), "test": Amount(2)}),
        speech=(Speech(1.0, 2.0, 2.0, 5.0), Speech(1.0, 3600.0, 3600.0, 5.0)),
        submissions=(
            Submission("toy", "test_predict.txt", "toys.txt", Lines(r"(\S+) = (\d+)", "TOY = COUNT", numbers=True)),
        ),
    )


CONFIG = """\
runner:
  total_steps: 40
  gradient_accumulate_steps: 1
  eval_step: 10
  eval_dataloaders: [dev, test]
  save_step: 10
  max_keep: 1
optimizer:
  name: Adam
  lr: 1.0e-3
downstream_expert:
  datarc:
    toys: ${SUPERB_DATA}/Toys
    batch_size: 4
  modelrc:
    projector_dim: 256
"""
