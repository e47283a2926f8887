"""Run as a script: reads corpora with s3prl's own data sets and prints what they found as JSON; then damages OUT.

python -m tests.corpora.loaders OUT [REAL_OUT]
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import soundfile
import yaml

from s3prl_gendistiller.distill.files import files_below
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import compat, mount
from s3prl_gendistiller.superb.tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]


def content(out: Path, name: str) -> dict[str, Any]:
    """The expert's part of a shipped configuration."""
    text = (ROOT / "downstream_runs" / name).read_text(encoding="utf-8").replace("${SUPERB_DATA}", str(out))
    return yaml.safe_load(text)["downstream_expert"]


def asr(out: Path) -> dict[str, Any]:
    from s3prl.downstream.asr.dataset import SequenceDataset
    from s3prl.downstream.asr.dictionary import Dictionary

    rc = content(out, "asr/config.yaml")["datarc"]
    letters = Dictionary.load(str(ROOT / "downstream_runs/asr/char.dict"))
    given = {key: rc[key] for key in ("libri_root", "bucket_file", "train", "dev-clean", "test-clean")}
    sets = {split: SequenceDataset(split, 2, letters, **given) for split in ("train", "dev-clean", "test-clean")}
    wavs, labels, _ = sets["train"][0]
    unknown = sum((labels == letters.unk()).sum().item() for data in sets.values() for labels in data.Y.values())
    return {
        "clips": {split: sum(map(len, data.X)) for split, data in sets.items()},
        "longest": [max(map(len, wavs)), len(labels[0])],
        "unknown_letters": unknown,
    }


def ctc(out: Path, name: str) -> dict[str, Any]:
    from s3prl.downstream.ctc.data import create_dataset
    from s3prl.downstream.ctc.text import load_text_encoder

    rc = content(out, f"ctc/{name}.yaml")
    rc["text"]["vocab_file"] = str(ROOT / "downstream_runs/ctc" / Path(rc["text"]["vocab_file"]).name)
    tokenizer = load_text_encoder(**rc["text"])
    corpus = {**rc["corpus"], "bucketing": False}
    found = {split: create_dataset(split, tokenizer, **corpus)[0] for split in ("train", "dev", "test")}
    tokens = [token for data in found.values() for i in range(len(data)) for token in data[i][1]]
    return {
        "clips": {split: len(data) for split, data in found.items()},
        "unknown_tokens": tokens.count(tokenizer.unk_idx),
        "example": tokenizer.decode(found["train"][0][1]),
    }


def ks(out: Path) -> dict[str, Any]:
    from s3prl.downstream.speech_commands.dataset import SpeechCommandsDataset, SpeechCommandsTestingDataset
    from s3prl.downstream.speech_commands.expert import split_dataset

    rc = content(out, "speech_commands/config.yaml")["datarc"]
    train, valid = split_dataset(rc["speech_commands_root"])
    sets = {
        "train": SpeechCommandsDataset(train, **rc),
        "valid": SpeechCommandsDataset(valid, **rc),
        "test": SpeechCommandsTestingDataset(**rc),
    }
    lengths = {split: sorted({len(data[i][0]) for i in range(len(data))}) for split, data in sets.items()}
    return {
        "classes": {split: dict(Counter(name for name, _ in data.data)) for split, data in sets.items()},
        "lengths": lengths,
        "valid": sorted(str(Path(path).relative_to(rc["speech_commands_root"])) for _, path in valid),
    }


def qbe(out: Path) -> dict[str, Any]:
    from s3prl.downstream.quesst14_dtw.dataset import QUESST14Dataset

    found = {}
    for split in ("dev", "eval"):
        data = QUESST14Dataset(split, **content(out, "quesst14_dtw/config.yaml")["datarc"])
        clips = [data[i] for i in range(len(data))]
        shortest = min(len(wav) for wav, _ in clips)
        found[split] = [data.n_queries, data.n_docs, shortest, clips[0][1], clips[-1][1]]
    return found


def sid(out: Path) -> dict[str, Any]:
    from s3prl.downstream.voxceleb1.dataset import SpeakerClassifiDataset

    rc = content(out, "voxceleb1/config.yaml")["datarc"]
    sets = {s: SpeakerClassifiDataset(s, Path(rc["file_path"]), rc["meta_data"]) for s in ("train", "dev", "test")}
    return {
        "clips": {split: len(data) for split, data in sets.items()},
        "labels": {split: sorted(set(data.label)) for split, data in sets.items()},
        "samples": len(sets["train"][0][0]),
    }


def asv(out: Path) -> dict[str, Any]:
    from s3prl.downstream.sv_voxceleb1.dataset import SpeakerVerifi_test, SpeakerVerifi_train

    rc = content(out, "sv_voxceleb1/config.yaml")["datarc"]
    root = Path(rc["file_path"])
    given = {"vad_config": rc["vad_config"], "max_timestep": rc["max_timestep"], "n_jobs": 1}
    train = SpeakerVerifi_train(
        key_list=["Voxceleb1"], file_path=[root / "dev" / "wav"], meta_data=rc["train_meta_data"], **given
    )
    found: dict[str, Any] = {
        "train": [train.speaker_num, len(train)],
        "written": len(list(files_below(root / "dev", ".wav"))),
    }
    for part, key in (("dev", "dev_meta_data"), ("test", "test_meta_data")):
        trials = SpeakerVerifi_test(rc["vad_config"], root / part / "wav", rc[key])
        found[part] = [len(trials), dict(Counter(label for label, *_ in trials.pair_table)), len(trials[0][0])]
    return found


def sd(out: Path) -> dict[str, Any]:
    from s3prl.downstream.diarization.dataset import DiarizationDataset

    rc = content(out, "diarization/config.yaml")
    found = {}
    for split in ("train", "dev", "test"):
        folder = rc["loaderrc"][f"{split}_dir"]
        data = DiarizationDataset(split, folder, **{**rc["datarc"], "frame_shift": 320})
        items = [data[i] for i in range(len(data))]
        labels = [item[1][0] if split == "test" else item[1] for item in items]
        both = sum(int((label.sum(1) == 2).sum()) for label in labels)
        found[split] = [len(data), list(labels[0].shape)[1], both / sum(len(label) for label in labels)]
    return found


def ic(out: Path) -> dict[str, Any]:
    import pandas
    from s3prl.downstream.fluent_commands.dataset import FluentCommandsDataset
    from s3prl.downstream.fluent_commands.expert import DownstreamExpert

    rc = content(out, "fluent_commands/config.yaml")["datarc"]
    reader = object.__new__(DownstreamExpert)  # without the network, which asks for an upstream's width
    reader.datarc = rc
    reader.get_dataset()
    found: dict[str, Any] = {"values": reader.values_per_slot}
    for split in ("train", "valid", "test"):
        table: pandas.DataFrame = getattr(reader, f"{split}_df")
        data = FluentCommandsDataset(table, reader.base_path, reader.Sy_intent)
        labels = {tuple(int(value) for value in data[i][1]) for i in range(len(data))}
        found[split] = [len(data), len(labels)]
    return found


def er(out: Path) -> dict[str, Any]:
    from s3prl.downstream.emotion.dataset import IEMOCAPDataset

    rc = content(out, "emotion/config.yaml")["datarc"]
    found = {}
    for session in range(1, 6):
        for purpose in ("train", "test"):
            data = IEMOCAPDataset(rc["root"], f"{rc['meta_data']}/Session{session}/{purpose}_meta_data.json")
            labels = Counter(info["label"] for info in data.meta_data)
            found[f"{session} {purpose}"] = [len(data), data.class_num, dict(labels), len(data[0][0])]
    return found


def er_script(out: Path) -> bool:
    """Whether s3prl's own script makes the same fold lists."""
    from s3prl.downstream.emotion.IEMOCAP_preprocess import preprocess

    same = []
    for session in range(1, 6):
        for purpose in ("train", "test"):
            folders = [f"Session{n}" for n in range(1, 6) if (n == session) == (purpose == "test")]
            with tempfile.TemporaryDirectory() as plain:  # the script takes a bracket in a path for a wildcard
                made, copy = Path(plain, "made.json"), shutil.copytree(out / "IEMOCAP", Path(plain, "IEMOCAP"))
                preprocess(str(copy), folders, str(made))
                lists = [made, out / f"IEMOCAP/meta_data/Session{session}/{purpose}_meta_data.json"]
                first, second = (json.loads(path.read_text(encoding="utf-8-sig")) for path in lists)
            rows = [
                sorted(row["path"] + row["label"] + row["speaker"] for row in d["meta_data"]) for d in (first, second)
            ]
            same.append(rows[0] == rows[1] and first["labels"] == second["labels"])
    return all(same)


def refusals(out: Path) -> dict[str, str]:
    """What reading says once all audio is said to be at 44.1 kHz or, of emotions, has two channels."""
    for path in files_below(out, (".wav", ".flac")):
        wav, rate_hz = soundfile.read(path)
        doubled = "IEMOCAP" in path.parts
        soundfile.write(path, numpy.stack([wav, wav], 1) if doubled else wav, rate_hz if doubled else 44_100)
    said = {}
    for name, read in (("asr", asr), ("sid", sid), ("ic", ic), ("er", er), ("sd", sd), ("pr", collated), ("qbe", qbe)):
        try:
            read(out)
            said[name] = ""
        except UserError as error:
            said[name] = str(error)
    return said


def collated(out: Path) -> None:
    """Reads an utterance of phoneme recognition as its loader does."""
    from s3prl.downstream.ctc.data import collect_audio_batch

    first = next(files_below(out / "LibriSpeech", ".flac"))
    collect_audio_batch([(first, [1])], "dev")


def main(out: Path, real: Path | None) -> dict[str, Any]:
    compat.apply()
    with tempfile.TemporaryDirectory() as cache:
        for number, downstream in enumerate(sorted({task.downstream for task in TASKS.values()})):
            Path(cache, str(number)).mkdir()
            mount.supply_expert(downstream, Path(cache, str(number)), "cpu")
        found = {task.__name__: task(out) for task in (asr, ks, qbe, sid, asv, sd, ic, er, er_script)}
        found["pr"] = ctc(out, "libriphone")
        found["sf"] = ctc(out, "snips")
        if real is not None:
            for downstream in ("voxceleb1", "sv_voxceleb1"):  # whose caches know no corpus
                Path(cache, f"real {downstream}").mkdir()
                mount.supply_expert(downstream, Path(cache, f"real {downstream}"), "cpu")
            found["real"] = {task.__name__: task(real) for task in (ks, sid, asv, qbe, ic)}
        mount.supply_expert("voxceleb1", Path(cache, "refused"), "cpu")
        found["refusals"] = refusals(out)
    return found


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    print(json.dumps(result))
