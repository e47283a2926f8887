"""What is expected of a task is what s3prl's own loader gives; everything else is called by its name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.superb.entry.expected import config_files, differences
from s3prl_gendistiller.superb.tasks.predictions import Predictions
from tests.superb.experiments import FLAGS, expected, expert_config

ANY_ORDER = ("qbe", "sd")
COUNTS = {"pr": 3, "sid": 5, "ks": 12, "ic": 3, "asr_no_lm": 3, "qbe": 8, "sf": 2, "sv": 2, "sd": 2}


def config(data: Path, flag: str) -> dict:
    return {"downstream_expert": expert_config(data, flag)}


@pytest.mark.parametrize("flag", FLAGS)
def test_the_ids_are_those_of_s3prls_loader(flag: str, ten: Path, host_ids: dict[str, list[str]]) -> None:
    wanted = expected(flag, config(ten, flag))
    assert len(wanted.ids) == COUNTS.get(flag, 4)
    assert Counter(wanted.ids) == Counter(host_ids[flag])
    assert differences(Predictions(host_ids[flag]), wanted) == []
    assert wanted.source.is_relative_to(ten)


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag not in (*ANY_ORDER, "ks")])
def test_another_order_is_seen(flag: str, ten: Path, host_ids: dict[str, list[str]]) -> None:
    wanted = expected(flag, config(ten, flag))
    for shuffled in (host_ids[flag][::-1], [*host_ids[flag][1:], host_ids[flag][0]]):
        (said,) = differences(Predictions(shuffled), wanted)
        assert said.startswith("line ") and any(name in said for name in host_ids[flag])


def test_keywords_come_class_by_class(ten: Path) -> None:
    (ten / "speech_commands_test_set_v0.01/yes/b_nohash_0.wav").write_bytes(b"")
    try:
        wanted = expected("ks", config(ten, "ks"))
    finally:
        (ten / "speech_commands_test_set_v0.01/yes/b_nohash_0.wav").unlink()
    blocks = [*(name for name in wanted.ids if name.startswith("yes")), "_silence_-noise.wav"]
    others = [name for name in wanted.ids if name not in blocks]
    assert differences(Predictions([*blocks, *others]), wanted) == []
    (said,) = differences(Predictions([blocks[0], *others, *blocks[1:]]), wanted)
    assert f"{blocks[1]} is separated from the other utterances of its class" in said


@pytest.mark.parametrize("flag", ["pr", "asr_no_lm", "sf"])
def test_utterances_of_one_length_may_change_places(flag: str, ten: Path) -> None:
    from dataclasses import replace

    wanted = expected(flag, config(ten, flag))
    level = replace(wanted, ranks=[0] * len(wanted.ids))
    assert differences(Predictions(list(wanted.ids)[::-1]), level) == []


def test_without_its_lexicon_the_order_of_phonemes_is_left_open(ten: Path) -> None:
    own = config(ten, "pr")
    own["downstream_expert"]["corpus"]["lexicon"] = ["downstream/ctc/lexicon/librispeech-lexicon.txt"]
    assert set(expected("pr", own).ranks or ()) == {0}


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("pr", "no .*/LibriSpeech/test-clean"),
        ("sid", "no .*veri_test_class.txt"),
        ("er_fold3", "no .*Session3/test_meta_data.json"),
        ("sd", "no .*reco2dur"),
    ],
)
def test_a_corpus_that_is_elsewhere_is_said_to_be(flag: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        expected(flag, config(tmp_path, flag))
    with pytest.raises(UserError):
        expected(flag, {"downstream_expert": {}})


def test_a_split_without_a_test_set_is_no_empty_expectation(ten: Path, tmp_path: Path) -> None:
    own = config(ten, "sid")
    lists = tmp_path / "lists.txt"
    lists.write_text("1 id10001/clip/00001.wav\n")
    own["downstream_expert"]["datarc"]["meta_data"] = str(lists)
    with pytest.raises(UserError, match="names no utterance of the test set"):
        expected("sid", own)


def test_our_configuration_comes_before_s3prls_own(tmp_path: Path) -> None:
    import os

    for age, name in ((9, "config_2024-01-02-03-04-05.yaml"), (5, "config_2024-01-02-03-04-06.yaml")):
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (tmp_path / "config_other.yaml").write_text("{}")
    assert [path.name[-7:] for path in config_files(tmp_path)] == ["06.yaml", "05.yaml"]
    (tmp_path / "config_resolved.yaml").write_text("{}")
    assert config_files(tmp_path)[0].name == "config_resolved.yaml"
