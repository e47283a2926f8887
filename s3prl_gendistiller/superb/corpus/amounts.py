"""How much speech each task hears: SUPERB's corpora, and those of `gendistiller corpus --size small`.

Sources of the official ones, hours or counts as published:

- LibriSpeech (Panayotov et al., ICASSP 2015): 28,539 utterances and 100.6 h to train on, 5.4 h each of dev and test.
- Speech Commands 0.01: 64,727 recordings of a second; SUPERB trains on 51,094, has 6,798 for dev and 3,081 for test.
- QUESST 2014 (Anguera et al., MediaEval 2014): about 23 h in 12,492 documents, 560 and 555 queries.
- VoxCeleb1 (Nagrani et al., Interspeech 2017): 153,516 utterances, 352 h; identification has 6,904 for dev and 8,251
  for test, verification tests on 4,715 recordings; s3prl's list of dev trials names 5,466.
- Libri2Mix (Cosentino et al., 2020): train-100 13,900 mixtures and 58 h, dev and test 3,000 and 11 h each.
- Fluent Speech Commands (Lugosch et al., Interspeech 2019): 23,132, 3,118 and 3,793 utterances, 14.7, 1.9 and 2.4 h.
- Audio SNIPS: 13,084, 700 and 700 sentences by 8, 4 and 4 synthetic voices; 3 s each is an assumption.
- IEMOCAP (Busso et al., 2008): 5,531 turns of the four emotions, 4.5 s each; a fold tests on a fifth of them, and a
  fifth of the rest is dev.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Speech:
    """Of one task.

    Attributes:
        utterance_s: mean length of an utterance to train on.
        dev_s, test_s: all that an evaluation hears.
        whole_s: all that is heard, training included, each utterance once.
        pairs: queries times documents that dynamic time warping compares in an evaluation.
    """

    utterance_s: float
    dev_s: float
    test_s: float
    whole_s: float
    pairs: int = 0


_HOUR = 3600.0

SPEECH: dict[str, dict[str, Speech]] = {
    "official": {
        "pr": Speech(100.6 * _HOUR / 28_539, 5.4 * _HOUR, 5.4 * _HOUR, 111.4 * _HOUR),
        "asr": Speech(100.6 * _HOUR / 28_539, 5.4 * _HOUR, 5.4 * _HOUR, 111.4 * _HOUR),
        "ks": Speech(1.0, 6_798.0, 3_081.0, 60_973.0),
        "qbe": Speech(0.0, 23 * _HOUR, 23 * _HOUR, 23.5 * _HOUR, 560 * 12_492),
        "sid": Speech(352 * _HOUR / 153_516, 6_904 * 8.25, 8_251 * 8.25, 352 * _HOUR),
        "asv": Speech(352 * _HOUR / 153_516, 5_466 * 8.25, 4_715 * 8.25, 352 * _HOUR),
        "sd": Speech(58 * _HOUR / 13_900, 11 * _HOUR, 11 * _HOUR, 80 * _HOUR),
        "ic": Speech(14.7 * _HOUR / 23_132, 1.9 * _HOUR, 2.4 * _HOUR, 19 * _HOUR),
        "sf": Speech(3.0, 700 * 4 * 3.0, 700 * 4 * 3.0, (13_084 * 8 + 2 * 700 * 4) * 3.0),
        "er": Speech(4.5, 5_531 * 4 / 5 / 5 * 4.5, 5_531 / 5 * 4.5, 5_531 * 4.5),
    },
    "small": {
        "pr": Speech(2.8, 168, 283, 2708),
        "asr": Speech(2.8, 168, 283, 2708),
        "ks": Speech(1.0, 115, 250, 1524),
        "qbe": Speech(0.0, 411, 413, 432, 24 * 120),
        "sid": Speech(5.5, 344, 352, 2117),
        "asv": Speech(5.5, 1457, 660, 2117),
        "sd": Speech(11.9, 189, 279, 1657),
        "ic": Speech(1.3, 100, 160, 971),
        "sf": Speech(2.8, 238, 225, 2717),
        "er": Speech(2.9, 138, 178, 866),
    },
}
