from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

import real_sources
from recordings.pieces import LONGEST, SHORTEST, cut, joined, trimmed
from s3prl_gendistiller.distill.audio import SAMPLE_RATE, read_audio
from s3prl_gendistiller.distill.manifest import read_manifest
from s3prl_gendistiller.errors import UserError

OPUS_RATES = tuple(int(part) for part in soundfile.__version__.split(".")[:2]) >= (0, 13)
needs_opus = pytest.mark.skipif(not OPUS_RATES, reason="soundfile before 0.13 cannot set a bit rate")


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE)


def test_silence_is_trimmed_from_the_ends_only() -> None:
    silence = np.zeros(SAMPLE_RATE)
    found = trimmed(np.concatenate([silence, tone(1), silence, tone(1), silence]))
    assert len(found) == pytest.approx(3.16 * SAMPLE_RATE, abs=700)
    assert len(trimmed(silence)) == 0


def test_short_clips_are_joined_in_their_order() -> None:
    clips = [np.full(SAMPLE_RATE // 2, number) for number in range(1, 101)]
    pieces = list(joined(clips, np.random.default_rng(0)))
    assert all(SHORTEST <= len(piece) <= LONGEST for piece in pieces) and len(pieces) > 2
    whole = np.concatenate(pieces)
    assert (np.diff(whole[whole > 0]) >= 0).all() and (whole > 0).sum() > 45 * SAMPLE_RATE


def test_long_recordings_are_cut_in_their_pauses() -> None:
    wav = tone(40)
    wav[13 * SAMPLE_RATE : 14 * SAMPLE_RATE] = 0
    parts = cut(wav)
    assert np.array_equal(np.concatenate(parts), wav) and len(parts) == 3
    assert 13 * SAMPLE_RATE <= len(parts[0]) < 14 * SAMPLE_RATE
    assert all(len(part) <= LONGEST for part in parts)


def packages(folder: Path) -> Path:
    """A few recordings at the places of the real packages, and one of a test split."""
    wavs = {
        "k/usr/share/klettres/de/alpha/a.wav": tone(3, 300),
        "k/usr/share/klettres/de/syllab/ba.wav": tone(3, 310),
        "k/usr/share/klettres/en_GB/alpha/a.wav": tone(3, 320),
        "t/usr/share/tuxpaint/stamps/food/bun_desc.ogg": tone(3, 330),
        "t/usr/share/tuxpaint/stamps/food/bun_desc_fr.ogg": tone(3, 340),
        "t/usr/share/tuxpaint/stamps/food/bun.ogg": tone(3, 350),
        "pyannote_audio-4.0.7/tests/data/trn01.wav": tone(30, 360),
        "pyannote_audio-4.0.7/tests/data/tst01.wav": tone(30, 370),
        "pyannote_audio-4.0.7/tests/data/dev01.wav": tone(30, 380),
    }
    for name, wav in wavs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wav, SAMPLE_RATE)
    stamps = folder / "t/usr/share/tuxpaint/stamps/food"
    (stamps / "again_desc_fr.ogg").write_bytes((stamps / "bun_desc_fr.ogg").read_bytes())
    (folder / "k/usr/share/klettres/de/alpha/broken.wav").write_bytes(b"nothing")
    return folder


def test_groups_are_speakers_or_languages_without_tests_and_copies(tmp_path: Path) -> None:
    found = {(group.source.name, group.name): group for group in real_sources.package_groups(packages(tmp_path))}
    assert set(found) == {
        ("klettres", "de"),
        ("klettres", "en_GB"),
        ("tuxpaint", "en"),
        ("tuxpaint", "fr"),
        ("ami", "trn01"),
    }
    assert len(found["klettres", "de"].files) == 3 and len(found["tuxpaint", "fr"].files) == 1
    assert found["klettres", "en_GB"].share > found["klettres", "de"].share


def test_only_training_rows_are_used(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        soundfile.write(tmp_path / f"{name}.wav", tone(1), SAMPLE_RATE)
    (tmp_path / "digits.csv").write_text("file,split,speaker\na.wav,train,x\nb.wav,test,x\n")
    (tmp_path / "orders.csv").write_text("file,split\nc.wav,train\nd.wav,dev\n")
    groups = real_sources.table_groups(tmp_path)
    assert [path.name for group in groups for path in group.files] == ["a.wav", "c.wav"]


@needs_opus
def test_pieces_and_their_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert real_sources.run(["--packages", str(packages(tmp_path / "in")), "--out", str(out)]) == 0
    utterances = read_manifest([out / "real.csv"], out)
    assert all(len(read_audio(found.path)) == found.num_samples for found in utterances)
    assert all(SHORTEST <= found.num_samples <= LONGEST + 400 for found in utterances)
    with (out / "pieces.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} == {"klettres", "tuxpaint", "ami"} and len(rows) == len(utterances)
    assert "| ami | CC-BY-4.0 |" in (out / "sources.md").read_text()
    assert "files not usable: {'klettres': 1}" in capsys.readouterr().out
    small = tmp_path / "small"
    size = sum(found.path.stat().st_size for found in utterances)
    real_sources.run(["--packages", str(tmp_path / "in"), "--out", str(small), "--megabytes", str(size / 2e6)])
    kept = read_manifest([small / "real.csv"], small)
    assert 0 < len(kept) < len(utterances)
    assert len(list(small.rglob("*.ogg"))) == len(kept)


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found no recordings of klettres"):
        real_sources.package_groups(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        real_sources.package_groups(tmp_path / "absent")
