"""Archives of the ten tasks' corpora with the inner structure of the published ones, a few recordings each."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

from s3prl_gendistiller.superb.tasks.pr import OFFICIAL_LEXICONS

LIBRIMIX = """\
set -eu
test -d "$1/wham_noise/tr"  # or it would be downloaded from an address that is dead
for split in train-100:train-clean-100 dev:dev-clean test:test-clean; do
    mixtures="$1/Libri2Mix/wav16k/max/${split%%:*}/mix_both"
    mkdir -p "$mixtures"
    set -- "$1" "$1/LibriSpeech/${split##*:}"/*/*/*.flac
    cp "$2" "$mixtures/$(basename "$2" .flac)_$(basename "$3" .flac).wav"
    set -- "$1"
done
"""
"""Stands for s3prl/LibriMix's generate_librimix_sd.sh: one mixture of each split, where that script writes them."""


def write_archives(ten: Path, archives: Path) -> Path:
    """Writes all archives and checkouts below a folder, from the corpora of `noise_corpora.write_ten`."""
    archives.mkdir()
    for split in ("train-clean-100", "dev-clean", "test-clean"):
        _tar(archives / f"{split}.tar.gz", ten / "LibriSpeech" / split, f"LibriSpeech/{split}")
    for name in ("speech_commands_v0.01", "speech_commands_test_set_v0.01"):
        _tar(archives / f"{name}.tar.gz", ten / name, ".")
    _tar(archives / "quesst14Database.tgz", ten / "quesst14Database", "quesst14Database")
    _tar(archives / "fluent.tar.gz", ten / "fluent_speech_commands_dataset", "fluent_speech_commands_dataset")
    release = archives / "IEMOCAP_full_release"
    shutil.copytree(ten / "IEMOCAP", release, ignore=shutil.ignore_patterns("meta_data"))
    _tar(archives / "IEMOCAP_full_release.tar.gz", release, release.name)
    shutil.rmtree(release)
    _zip(archives / "SNIPS.zip", ten / "SNIPS", "SNIPS")
    _zip(archives / "vox1_test_wav.zip", ten / "VoxCeleb1/test/wav", "wav")
    _zip(archives / "dev.zip", ten / "VoxCeleb1/dev/wav", "wav")
    whole = (archives / "dev.zip").read_bytes()
    for number, part in enumerate("abcd"):
        begin, end = (len(whole) * place // 4 for place in (number, number + 1))
        (archives / f"vox1_dev_wav_parta{part}").write_bytes(whole[begin:end])
    _zip(archives / "wham_noise.zip", ten / "speech_commands_v0.01/_background_noise_", "wham_noise/tr")
    _write_checkouts(ten, archives)
    return archives


def _write_checkouts(ten: Path, archives: Path) -> None:
    """As much of s3prl and of its LibriMix as the steps read."""
    downstream = archives / "s3prl/s3prl/downstream"
    first, second = (archives / "s3prl/s3prl" / name for name in OFFICIAL_LEXICONS)
    first.parent.mkdir(parents=True)
    shutil.copy(ten / "LibriSpeech/lexicon.txt", first)
    second.write_text("ZED\tZ IY1\n")
    for folder in ("voxceleb1", "sv_voxceleb1"):
        (downstream / folder).mkdir()
    shutil.copy(ten / "VoxCeleb1/veri_test_class.txt", downstream / "voxceleb1")
    shutil.copy(ten / "VoxCeleb1/voxceleb1_test_v2.txt", downstream / "sv_voxceleb1")
    shutil.copytree(ten / "VoxCeleb1/dev_meta_data", downstream / "sv_voxceleb1/dev_meta_data")
    shutil.copytree(ten / "IEMOCAP/meta_data", downstream / "emotion/meta_data")
    alignments = archives / "LibriMix/metadata/LibriSpeech"
    alignments.mkdir(parents=True)
    (archives / "LibriMix/generate_librimix_sd.sh").write_text(LIBRIMIX)
    for split in ("train-clean-100", "dev-clean", "test-clean"):
        lines = [
            f"SPEAKER {file.stem.partition('-')[2]} 1 {start} 0.3 <NA> <NA> {file.stem.partition('-')[0]} <NA> <NA>\n"
            for file, start in zip(sorted((ten / "LibriSpeech" / split).rglob("*.flac"))[:2], (0.0, 0.1), strict=True)
        ]
        (alignments / f"{split.replace('-', '_')}.rttm").write_text("".join(lines))


def _tar(archive: Path, folder: Path, name: str) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(folder, name)


def _zip(archive: Path, folder: Path, name: str) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, Path(name, path.relative_to(folder)))
