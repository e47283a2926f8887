"""Speaker identification on VoxCeleb1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.formats.lists import full_lines, misshapen_line
from s3prl_gendistiller.superb.corpus.sizes import Speech
from s3prl_gendistiller.superb.tasks import voxceleb
from s3prl_gendistiller.superb.tasks.base import PUBLISHED_CORPORA, Metric, Task
from s3prl_gendistiller.superb.tasks.needs import Config, Files, Listing, Need, columns
from s3prl_gendistiller.superb.tasks.predictions import Expected, classes, present
from s3prl_gendistiller.superb.tasks.statistics import Ratio

SPEAKERS = range(10001, 10001 + 1251)
"""The numbers of the speakers for which s3prl's head has a label."""


class SpeakerIdentification(Task):
    def need(self, config: Config) -> Need:
        root = Path(config["datarc"]["file_path"])
        listing = Listing(
            Path(config["datarc"]["meta_data"]),
            in_s3prl="downstream/voxceleb1/veri_test_class.txt",
            named=columns(1),
            folders=(root / "dev" / "wav", root / "test" / "wav"),
            rows=voxceleb.UTTERANCES,  # 138,361 train, 6,904 dev, 8,251 test: the data card of s3prl/superb, task si
        )
        return Need(self, (root,), voxceleb.audio_folders(root), [listing], config)

    def faults(self, need: Need, files: Files) -> Iterator[str]:
        (path,) = (listing.path for listing in need.listings)
        if not path.is_file():
            return
        misshapen = list(misshapen_line(path, 2, "1, 2 or 3 and a path without spaces"))
        yield from misshapen
        for number, line in enumerate(full_lines(path), start=1) if not misshapen else ():
            purpose, name = line.split()
            speaker = re.fullmatch(r"id(\d{5})", ["", *Path("//", name).parts][-3])
            if purpose not in ("1", "2", "3") or speaker is None or int(speaker[1]) not in SPEAKERS:
                form = f"1 (train), 2 (dev) or 3 (test) and id{SPEAKERS[0]} to id{SPEAKERS[-1]}/SESSION/FILE"
                yield f"{path} line {number}: found {line.strip()!r}, expected {form}"
                return

    def test_set(self, config: Config, fold: str = "") -> Expected:
        path = present(Path(config["datarc"]["meta_data"]))
        rows = [line.split() for line in full_lines(path)]
        names = [name for split, name in rows if int(split) == 3]
        return Expected(path, [Path("-".join(Path(name).parts[-3:])).stem for name in names])


TASK = SpeakerIdentification(
    name="sid",
    title="speaker identification",
    downstream="voxceleb1",
    mini="mini.yaml",
    metrics=(Metric("acc", "acc %", True, "acc", references=(20.058174, 90.3)),),
    corpus=voxceleb.CORPUS,
    speech=(Speech(5.5, 344, 352, 2117), voxceleb.speech(dev=6_904, test=8_251)),
    submissions=(classes("sid", "test"),),
    statistics={"acc": Ratio("right")},
    modules=("librosa",),
    crops=PUBLISHED_CORPORA,
    cost=2,
)
