"""Run as a script: the ids that s3prl's experts would write when they test, from its own loaders, as JSON.

python -m tests.superb.loaders DATA
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from s3prl_gendistiller.host import compat, mount
from tests.superb.experiments import FLAGS, expert_config


def ids(data: Path, flag: str) -> Iterator[str]:
    """By the flag of s3prl's submit.py."""
    config = expert_config(data, flag)
    datarc = config.get("datarc", {})
    if flag in ("pr", "sf"):
        from s3prl.downstream.ctc.data import create_dataset
        from s3prl.downstream.ctc.text import load_text_encoder

        folder = Path(__file__).resolve().parents[2] / "downstream_runs/ctc"
        vocabulary = str(folder / Path(config["text"]["vocab_file"]).name)
        tokenizer = load_text_encoder(**{**config["text"], "vocab_file": vocabulary})
        dataset, _ = create_dataset("test", tokenizer, **{**config["corpus"], "bucketing": False})
        yield from (str(dataset[index][0]).split("/")[-1].split(".")[0] for index in range(len(dataset)))
    elif flag == "asr_no_lm":
        from s3prl.downstream.asr.dataset import SequenceDataset
        from s3prl.downstream.asr.dictionary import Dictionary

        letters = Dictionary.load(str(Path(__file__).resolve().parents[2] / "downstream_runs/asr/char.dict"))
        names = ("libri_root", "bucket_file", "test-clean")
        sentences = SequenceDataset("test-clean", 1, letters, **{name: datarc[name] for name in names})
        yield from (name for index in range(len(sentences)) for name in sentences[index][2])
    elif flag == "ks":
        from s3prl.downstream.speech_commands.dataset import SpeechCommandsTestingDataset

        yield from (name for _, _, name in SpeechCommandsTestingDataset(**datarc))
    elif flag == "sid":
        from s3prl.downstream.voxceleb1.dataset import SpeakerClassifiDataset

        voices = SpeakerClassifiDataset("test", Path(datarc["file_path"]), datarc["meta_data"])
        yield from (voices[index][2] for index in range(len(voices)))
    elif flag == "ic":
        from s3prl.downstream.fluent_commands.dataset import FluentCommandsDataset
        from s3prl.downstream.fluent_commands.expert import DownstreamExpert

        reader = object.__new__(DownstreamExpert)
        reader.datarc = datarc
        reader.get_dataset()
        commands = FluentCommandsDataset(reader.test_df, reader.base_path, reader.Sy_intent)
        yield from (commands[index][2] for index in range(len(commands)))
    elif flag.startswith("er_fold"):
        from s3prl.downstream.emotion.dataset import IEMOCAPDataset

        path = f"{datarc['meta_data']}/Session{flag[-1]}/test_meta_data.json"
        feelings = IEMOCAPDataset(datarc["root"], path)
        yield from (feelings[index][2] for index in range(len(feelings)))
    elif flag == "qbe":
        from s3prl.downstream.quesst14_dtw.dataset import QUESST14Dataset

        audio = QUESST14Dataset("eval", **datarc)
        names = [audio[index][1] for index in range(len(audio))]
        yield from (f"{q} {d}" for q in names[: audio.n_queries] for d in names[audio.n_queries :])
    elif flag == "sv":
        from s3prl.downstream.sv_voxceleb1.dataset import SpeakerVerifi_test

        root = Path(datarc["file_path"]) / "test" / "wav"
        trials = SpeakerVerifi_test(datarc["vad_config"], root, datarc["test_meta_data"]).pair_table
        for _, *pair in trials:  # as the expert's log_records makes a name of two paths
            yield "_".join("-".join(name.split("/")[-3:]).split(".")[0] for name in pair)
    elif flag == "sd":
        from s3prl.downstream.diarization.dataset import DiarizationDataset

        yield from DiarizationDataset("test", config["loaderrc"]["test_dir"], **{**datarc, "frame_shift": 320}).rec_list


def main(data: Path) -> dict[str, list[str]]:
    compat.apply()
    with tempfile.TemporaryDirectory() as cache:
        for number, downstream in enumerate(("ctc", "voxceleb1", "sv_voxceleb1")):
            Path(cache, str(number)).mkdir()
            mount.supply_expert(downstream, Path(cache, str(number)), "cpu")
        return {flag: list(ids(data, flag)) for flag in FLAGS}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        result = main(Path(sys.argv[1]))
    print(json.dumps(result))
