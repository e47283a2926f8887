"""SUPERB's corpora as they are published: how much there is of each, where it lives, what it asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """Of one part of a corpus.

    Attributes:
        files: audio files.
        hours: of audio; None where none are published.
        rounding_h: how far the number may be off because it is rounded.
    """

    files: int
    hours: float | None = None
    rounding_h: float = 0.05


@dataclass(frozen=True)
class Home:
    """Where a corpus is to be had.

    Attributes:
        corpus: its name.
        where: its home and its licence, in words.
        parts: by name; what is not listed is published nowhere that was found.
    """

    corpus: str
    where: str
    parts: dict[str, Amount]


LIBRISPEECH = Home(
    "LibriSpeech",
    "OpenSLR 12 (CC BY 4.0)",
    # hours: Panayotov et al., ICASSP 2015, table 1; utterances: the data card of s3prl/superb, task asr
    {
        "train-clean-100": Amount(28_539, 100.6),
        "dev-clean": Amount(2_703, 5.4),
        "test-clean": Amount(2_620, 5.4),
    },
)
SPEECH_COMMANDS = Home(
    "Speech Commands v0.01",
    "TensorFlow's Speech Commands v0.01 and, apart, its test set (CC BY 4.0)",
    # Warden, arXiv 1804.03209, on version 1; the test set: the data card of s3prl/superb, task ks
    {"training": Amount(64_727), "test": Amount(3_081)},
)
QUESST = Home(
    "QUESST 2014",
    "QUESST 2014 from Brno University of Technology, speech@FIT (its own terms)",
    # Anguera et al., MediaEval 2014: 12,492 utterances, 23 hours, 560 and 555 queries, six languages
    {"Audio": Amount(12_492, 23, rounding_h=0.5), "dev_queries": Amount(560), "eval_queries": Amount(555)},
)
VOXCELEB = Home(
    "VoxCeleb1",
    "VoxCeleb1 from VGG, Oxford (its own terms)",
    # the VoxCeleb home's table, as PaddleSpeech's examples/voxceleb/README.md quotes it
    {"dev": Amount(148_642, 340.4), "test": Amount(4_874, 11.2)},
)
VOXCELEB_LISTED = 153_516  # 138,361 train, 6,904 dev, 8,251 test: the data card of s3prl/superb, task si
LIBRI2MIX = Home(
    "Libri2Mix",
    "Libri2Mix as generate_librimix_sd.sh of s3prl's LibriMix makes it of LibriSpeech (OpenSLR 12) and WHAM noise",
    # counted in that repository's metadata: the longer of the two utterances of each mixture
    {"train": Amount(13_900, 56.37), "dev": Amount(3_000, 7.60), "test": Amount(3_000, 7.01)},
)
FLUENT = Home(
    "Fluent Speech Commands",
    "Fluent Speech Commands from Fluent.ai (its own licence)",
    {},
)
FLUENT_LISTED = {"train": 23_132, "valid": 3_118, "test": 3_793}  # the data card of s3prl/superb, task ic
SNIPS = Home(
    "Audio SNIPS",
    "Audio SNIPS of AWS's noisy spoken language understanding data, prepared by s3prl's snips_prepare_data.sh",
    # s3prl's preprocess/snips_preprocess.py: 13,084 + 700 + 700 sentences by each voice; SUPERB takes 8 + 4 + 4 voices
    {"train": Amount(8 * 13_084), "valid": Amount(4 * 700), "test": Amount(4 * 700)},
)
IEMOCAP = Home(
    "IEMOCAP",
    "IEMOCAP from SAIL, University of Southern California (a release form to sign)",
    {},
)
# of four classes, happy and excited as one: counted in s3prl's downstream/emotion/meta_data
IEMOCAP_LISTED = {1: 1_085, 2: 1_023, 3: 1_151, 4: 1_031, 5: 1_241}
