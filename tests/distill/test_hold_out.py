"""What is held out of training: how much, which files, and what is refused."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from s3prl_gendistiller.distill.audio import Measured
from s3prl_gendistiller.distill.hold_out import HoldOut, folders_of, split
from s3prl_gendistiller.distill.listing import Recording
from s3prl_gendistiller.errors import UserError

AUDIO = Measured(16_000, 16_000, 1, seeks=True)


def recordings(**speakers: int) -> list[Recording]:
    return [Recording(f"{name}/day {i % 2}/{i}.wav", AUDIO) for name, count in speakers.items() for i in range(count)]


def paths(found: list[Recording]) -> list[str]:
    return [recording.file_path for recording in found]


@pytest.mark.parametrize(("amount", "held"), [(0.05, 5), (0.5, 50), (0.001, 1), (7, 7), (99, 99)])
def test_a_share_or_a_number_of_files_is_held_out(amount: float, held: int) -> None:
    files = recordings(anna=60, bert=40)
    train, out = split(files, HoldOut("x", amount))
    assert len(out) == held and sorted(train + out) == sorted(files)
    assert paths(train) == [path for path in paths(files) if path in set(paths(train))]  # in the given order


def test_the_choice_follows_from_seed_and_paths_alone() -> None:
    files = recordings(anna=60, bert=40)
    mixed = random.Random(0).sample(files, len(files))
    chosen = {seed: set(paths(split(files, HoldOut("10%", 0.1, seed=seed))[1])) for seed in range(3)}
    assert set(paths(split(mixed, HoldOut("10%", 0.1, seed=1))[1])) == chosen[1]
    assert chosen[0] != chosen[1] != chosen[2]


def test_files_that_are_added_move_few_others_to_the_other_side() -> None:
    before = set(paths(split(recordings(anna=200), HoldOut("10%", 0.1))[1]))
    after = set(paths(split(recordings(anna=220), HoldOut("10%", 0.1))[1]))
    assert len(before - after) <= 5


def test_by_folder_no_speaker_stands_on_both_sides() -> None:
    files = recordings(**{f"speaker {i}": 10 for i in range(20)})
    train, out = split(files, HoldOut("10%", 0.1, by="folder"))
    assert not folders_of(train) & folders_of(out)
    assert Counter(path.split("/")[0] for path in paths(out)) == dict.fromkeys(folders_of(out), 10)
    assert len(out) == 20


def test_by_folder_a_large_folder_is_passed_over_and_the_smallest_is_the_last_resort() -> None:
    files = recordings(anna=90, bert=4, carl=6)
    assert folders_of(split(files, HoldOut("10%", 0.1, by="folder"))[1]) == {"bert", "carl"}
    assert folders_of(split(files, HoldOut("1%", 0.01, by="folder"))[1]) == {"bert"}


def test_files_outside_any_folder_are_held_out_together() -> None:
    files = [*recordings(anna=9), Recording("1.wav", AUDIO), Recording("2.wav", AUDIO)]
    train, out = split(files, HoldOut("2", 2, by="folder"))
    assert paths(out) == ["1.wav", "2.wav"] and folders_of(out) == {""}


@pytest.mark.parametrize(
    ("files", "hold_out", "said"),
    [
        (
            recordings(anna=10),
            HoldOut("10", 10),
            "--hold-out 10: found 10 audio files, which leaves nothing to train on",
        ),
        (recordings(anna=5, bert=5), HoldOut("12", 12, by="folder"), "hold out at most 9"),
        (
            recordings(anna=10),
            HoldOut("5%", 0.05, by="folder"),
            "all in one folder, anna; expected at least two folders",
        ),
        (
            [Recording("1.wav", AUDIO), Recording("2.wav", AUDIO)],
            HoldOut("5%", 0.05, by="folder"),
            "none of them in a folder of its own; expected at least two folders",
        ),
        (recordings(anna=1), HoldOut("5%", 0.05), "--hold-out 5%: found one audio file, anna/day 0/0.wav, expected"),
    ],
)
def test_a_side_without_files_is_refused(files: list[Recording], hold_out: HoldOut, said: str) -> None:
    with pytest.raises(UserError) as caught:
        split(files, hold_out)
    assert said in str(caught.value)
