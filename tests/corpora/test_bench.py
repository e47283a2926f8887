"""The size `bench`: large test sets; queries, trials and conversations that need more than the sound of a recording."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from s3prl_gendistiller.corpora import fluent, iemocap, libri2mix, librispeech, quesst, snips, speech_commands, voxceleb
from s3prl_gendistiller.corpora.catalogue import check_corpora, write_corpora
from s3prl_gendistiller.corpora.clips import Conversation, Spoken
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.corpora.folder import CorpusPlan
from tests.corpora.conftest import digests

FEW: dict[ModuleType, dict[str, Any]] = {
    quesst: {"documents": 12, "queries": 4, "speakers": (4, 2, 2), "dev_queries": 2},
    voxceleb: {"speakers": (2, 3), "sessions": 4, "utterances": 1, "trials": 12, "test_sessions": 2},
    libri2mix: {"recordings": (2, 1, 1), "speakers": (2, 2, 2)},
}
"""Counts that are spoken in a moment; the rest is that of `bench`."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpora of QbE, SID, ASV and SD."""
    return write_few(tmp_path_factory.mktemp("bench"), workers=1)


def write_few(out: Path, workers: int) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        for module, counts in FEW.items():
            patch.setitem(module.SIZES, "bench", module.SIZES["bench"]._replace(**counts))
        write_corpora(out, size="bench", tasks=["qbe", "asv", "sd"], workers=workers, progress=False)
    return out


def plan(module: ModuleType, size: str = "bench") -> CorpusPlan:
    found: CorpusPlan = module.plans(Espeak(), size, 0)[-1]  # of keyword spotting, the test set
    return found


def texts(module: ModuleType) -> dict[str, str]:
    """The lists of a corpus that need no audio."""
    return dict(plan(module).texts(Path("not read")))


def test_test_sets_are_large_enough_to_tell_students_apart() -> None:
    assert len(plan(speech_commands).clips) >= 2000
    assert librispeech.SIZES["bench"]["test-clean"].utterances >= 600
    assert fluent.SIZES["bench"].commands[-1] >= 1000
    assert snips.SIZES["bench"][-1] >= 600
    assert len(plan(iemocap).clips) >= 1200
    assert quesst.SIZES["bench"].queries >= 100
    assert libri2mix.SIZES["bench"].recordings[-1] >= 200
    lists = texts(voxceleb)
    assert sum(line.startswith("3 ") for line in lists["veri_test_class.txt"].splitlines()) >= 500
    assert len(lists["voxceleb1_test_v2.txt"].splitlines()) >= 4000


def test_classes_of_keyword_spotting_have_equal_shares_of_the_test_set() -> None:
    classes = Counter(clip.path.split("/")[0] for clip in plan(speech_commands).clips)
    assert len(classes) == 12 and len(set(classes.values())) == 1


def test_same_seed_gives_the_same_bytes_on_any_number_of_processes(few: Path, tmp_path: Path) -> None:
    assert digests(write_few(tmp_path, workers=2)) == digests(few)
    assert [state.problems for state in check_corpora(few)] == [[], [], []]


@pytest.mark.parametrize("module", FEW, ids=lambda module: module.FOLDER)
def test_other_sizes_keep_their_recipe_and_their_readme(module: ModuleType) -> None:
    fields = set(module.Size._fields) & {"dev_queries", "apart", "test_sessions", "same_words", "moving"}
    assert fields
    for size in ("tiny", "small", "medium"):
        assert not fields & set(plan(module, size).recipe["size"])
    assert fields <= set(plan(module).recipe["size"])
    assert plan(module).about.startswith(plan(module, "small").about)
    assert len(plan(module).about) > len(plan(module, "small").about)


def test_queries_and_documents_are_recorded_apart() -> None:
    places = defaultdict(list)
    speeds = defaultdict(list)
    for clip in plan(quesst).clips:
        assert isinstance(clip, Spoken) and clip.place is not None and clip.place.snr_db is not None
        places[clip.path.split("/")[0]].append(clip.place)
        speeds[clip.path.split("/")[0]].append(clip.speed)
    assert set(places) == {"Audio", "dev_queries", "eval_queries"}
    assert min(place.decay_s for place in places["Audio"]) >= 0.2
    for queries in ("dev_queries", "eval_queries"):
        assert sum(place.decay_s > 0 for place in places[queries]) < len(places[queries]) / 2
        assert min(place.snr_db or 0 for place in places[queries]) >= 10
        assert max(speeds[queries]) - min(speeds[queries]) > max(speeds["Audio"]) - min(speeds["Audio"])
    every = list(itertools.chain(*places.values()))
    assert len({place.room for place in every}) == len(every)


def test_query_sets_have_their_own_numbers_and_no_common_query(few: Path) -> None:
    lines = (few / "quesst14Database/query_words.txt").read_text().splitlines()
    said = dict(line.split(" ", 1) for line in lines)
    assert Counter(name.split("_")[1] for name in said) == {"dev": 2, "eval": 4}
    assert len(set(said.values())) == len(said)


def test_all_speakers_say_the_same_sentences_and_none_says_one_twice() -> None:
    said: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for clip in plan(voxceleb).clips:
        assert isinstance(clip, Spoken)
        part, _, speaker, *_ = clip.path.split("/")
        said[part, speaker].append(clip.text)
    each = {part: {tuple(lines) for (of, _), lines in said.items() if of == part} for part in ("dev", "test")}
    for lines in each.values():
        (only,) = lines
        assert len(set(only)) == len(only)
    assert not set(*each["dev"]) & set(*each["test"])


def test_words_are_no_help_in_a_trial(few: Path) -> None:
    root = few / "VoxCeleb1"
    for file in ("voxceleb1_test_v2.txt", "dev_meta_data/dev_meta_data.txt"):
        labels = Counter()
        for label, first, second in (line.split() for line in (root / file).read_text().splitlines()):
            labels[label] += 1
            assert (first.split("/")[1:] == second.split("/")[1:]) == (label == "0")
        assert labels["0"] == labels["1"] > 0


def test_identification_tests_on_the_last_sessions(few: Path) -> None:
    sessions = defaultdict(set)
    for purpose, path in (line.split() for line in (few / "VoxCeleb1/veri_test_class.txt").read_text().splitlines()):
        sessions[purpose].add(path.split("/")[1])
    assert sessions == {"1": {"session01"}, "2": {"session02"}, "3": {"session03", "session04"}}


def test_each_turn_of_a_conversation_has_a_room_of_its_own() -> None:
    for clip in plan(libri2mix).clips[:20]:
        assert isinstance(clip, Conversation) and clip.place.snr_db is not None and clip.place.snr_db < 5
        places = [part.spoken.place for part in clip.parts]
        assert len({place.room for place in places if place is not None}) == len(clip.parts)


def test_stamp_states_the_size(few: Path) -> None:
    stamp = json.loads((few / "quesst14Database/synthetic.json").read_text())
    assert stamp["size"] == {**FEW[quesst], "speakers": [4, 2, 2], "apart": True}
