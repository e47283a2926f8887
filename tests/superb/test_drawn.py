"""Which samples s3prl's own data sets draw at random, in the tasks that have some and in one that has none."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import ROOT, run_python

SCRIPT = """
import json, sys, tempfile
from pathlib import Path
from torch.utils.data import DataLoader
from s3prl_gendistiller.host import compat, mount
from s3prl_gendistiller.host.random_waveforms import WatchedLoader, sample_key
compat.apply()
from tests.corpora.loaders import content
data, cache = Path(sys.argv[1]), Path(sys.argv[2])
found = {}


def look(name, dataset):
    told = []
    loader = WatchedLoader(DataLoader(dataset, 3, collate_fn=dataset.collate_fn, num_workers=1), told.append)
    rows = [(wav, told[-1], one) for wavs, *others in loader for wav, *one in zip(wavs, *others)]
    found[name] = [[sample_key(wav) in drawn, len(wav), str(one)] for wav, drawn, one in rows]


for name in ("voxceleb1", "sv_voxceleb1"):
    (cache / name).mkdir(parents=True)
    mount.supply_expert(name, cache / name, "cpu")
from s3prl.downstream.speech_commands.dataset import SpeechCommandsDataset
from s3prl.downstream.speech_commands.expert import split_dataset
from s3prl.downstream.voxceleb1.dataset import SpeakerClassifiDataset
from s3prl.downstream.sv_voxceleb1.dataset import SpeakerVerifi_train
from s3prl.downstream.fluent_commands.expert import DownstreamExpert
ks = content(data, "speech_commands/config.yaml")["datarc"]
look("ks", SpeechCommandsDataset(split_dataset(ks["speech_commands_root"])[0], **ks))
sid = content(data, "voxceleb1/config.yaml")["datarc"]
for name, longest in (("sid", 8000), ("sid whole", None)):
    look(name, SpeakerClassifiDataset("train", Path(sid["file_path"]), sid["meta_data"], longest))
asv = content(data, "sv_voxceleb1/config.yaml")["datarc"]
given = {"meta_data": asv["train_meta_data"], "max_timestep": 8000, "n_jobs": 1}
folder = Path(asv["file_path"]) / "dev/wav"
look("asv", SpeakerVerifi_train({"min_sec": 0}, ["Voxceleb1"], [folder], **given))
json.dump(found, sys.stdout)
"""


def test_only_what_s3prl_crops_at_random_counts_as_drawn(ten: Path, tmp_path: Path) -> None:
    answer = run_python("-c", SCRIPT, ten, tmp_path, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr[-3000:]
    found = json.loads(answer.stdout[answer.stdout.rindex('{"ks"') :])
    assert {drawn for drawn, _, (*_, one) in found["ks"]} == {True, False}
    for drawn, _, one in found["ks"]:
        assert drawn == ("_background_noise_" in one)
    assert found["sid"] and all(drawn == (length == 8000) for drawn, length, _ in found["sid"] + found["asv"])
    assert any(drawn for drawn, _, _ in found["sid"]) and not any(drawn for drawn, _, _ in found["sid whole"])
