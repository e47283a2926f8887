"""Speech from espeak-ng, through its C interface and the library that `espeakng_loader` brings.

A speaker is a language with a variant, such as `en-us+m3`. The engine keeps state between utterances that even
`espeak_Terminate` does not reset. The library is therefore loaded again for each utterance, in 0.3 milliseconds, so
that an utterance depends on its arguments alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from s3prl_gendistiller.errors import UserError

ACCENTS = ("en-us", "en-us-nyc", "en-029", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
"""English voices that have variants. `en-gb+...` fails in espeak-ng 1.52; `en-shaw` is another alphabet."""
_NOT_SPEAKERS = frozenset({"test", "fast_test"})
_HARD_TO_UNDERSTAND = ("whisper", "robosoft", "demonic", "unirobot", "croak", "storm")

# Constants of espeak-ng's speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_PHONEME_EVENTS = 1
_EVENT_END, _EVENT_PHONEME = 0, 7
_POSITION_CHARACTER = 1
_CHARS_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_SEPARATED_BY_UNDERSCORE = ord("_") << 8
_DO_NOT_EXIT = 0x8000


class _Event(ctypes.Structure):
    """espeak_EVENT. Its last member is a union; only the text of the union is used here."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("type", "unique_identifier", "text_position", "length")),
        *((name, ctypes.c_int) for name in ("audio_position", "sample")),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Phone(NamedTuple):
    """One phoneme of an utterance."""

    name: str  # espeak-ng's name, without stress
    start_s: float


class Speech(NamedTuple):
    """Output of the engine."""

    wav: np.ndarray  # (samples,) int16
    rate_hz: int
    phones: tuple[Phone, ...] = ()


class Espeak:
    """The engine, which speaks one utterance in each call; a UserError if its library cannot be loaded."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise UserError(
                'espeakng_loader: not installed, but needed to speak a corpus; pip install "s3prl-gendistiller[corpus]"'
            ) from error
        self._library_path = espeakng_loader.get_library_path()
        self._data_path = espeakng_loader.get_data_path()

    def variants(self) -> list[str]:
        """Names of the variants that are intelligible and give the same samples each time, in a fixed order."""
        names = sorted(file.name for file in Path(self._data_path, "voices", "!v").iterdir())
        speakers = [n for n in names if n not in _NOT_SPEAKERS and not n.lower().startswith(_HARD_TO_UNDERSTAND)]
        # Breath is noise that differs from call to call even in a library that was loaded again.
        return [name for name in speakers if not self._states(name, r"breath\b")]

    def is_female(self, variant: str) -> bool:
        """Whether the variant states the gender female; most state none or male."""
        return self._states(variant, r"gender\s+female\b")

    def _states(self, variant: str, pattern: str) -> bool:
        text = Path(self._data_path, "voices", "!v", variant).read_text(encoding="utf-8", errors="replace")
        return re.search(rf"^\s*{pattern}", text, re.MULTILINE) is not None

    def phonemes(self, words: Sequence[str], language: str = "en-us") -> list[list[str]]:
        """espeak-ng's names of each word's phonemes, after `'` for a primary stress and after `,` for a secondary one.

        Raises:
            UserError: the library cannot be loaded or lacks the language.
        """
        with self._opened(language) as library:
            library.espeak_TextToPhonemes.restype = ctypes.c_char_p
            spoken = []
            for word in words:
                rest = ctypes.c_char_p(word.encode())
                names = library.espeak_TextToPhonemes(ctypes.byref(rest), _CHARS_UTF8, _SEPARATED_BY_UNDERSCORE)
                spoken.append(names.decode().split("_"))
            return spoken

    def speak(
        self, text: str, voice: str, *, rate_wpm: int = 175, pitch: int = 50, pitch_range: int | None = None
    ) -> Speech:
        """Speaks a text.

        Args:
            voice: language, `+`, variant.
            rate_wpm: words per minute, 80 to 450.
            pitch: 0 to 100; 50 is the voice's own.
            pitch_range: 0 (monotone) to 100; None is the voice's own.

        Raises:
            UserError: the library cannot be loaded or lacks the voice.
        """
        pieces: list[np.ndarray] = []
        phones: list[Phone] = []

        @_SYNTH_CALLBACK
        def keep(wav: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
            if wav and count > 0:
                pieces.append(np.ctypeslib.as_array(wav, (count,)).copy())
            phones.extend(_phones(events))
            return 0

        with self._opened(voice, keep) as library:
            rate_hz = library.espeak_ng_GetSampleRate()
            library.espeak_SetParameter(_RATE, rate_wpm, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            if pitch_range is not None:
                library.espeak_SetParameter(_RANGE, pitch_range, 0)
            encoded = text.encode()
            library.espeak_Synth(
                encoded, ctypes.c_size_t(len(encoded) + 1), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
            )
        return Speech(np.concatenate(pieces) if pieces else np.zeros(0, np.int16), rate_hz, tuple(phones))

    @contextlib.contextmanager
    def _opened(self, voice: str, callback: Any = None) -> Iterator[ctypes.CDLL]:
        """The library with a voice, loaded again here and unloaded with its state at the end; ctypes never unloads."""
        try:
            library = ctypes.CDLL(self._library_path)
        except OSError as error:
            raise UserError(f"{self._library_path}: cannot be loaded ({error}); reinstall espeakng-loader") from error
        data = os.fsencode(self._data_path)
        try:
            if library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _DO_NOT_EXIT) <= 0:
                raise UserError(f"{self._data_path}: not the voices of espeak-ng; reinstall espeakng-loader")
            if callback is not None:
                library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise UserError(f"voice {voice!r}: unknown to espeak-ng; expected an accent, +, a variant")
            yield library
        finally:
            library.espeak_Terminate()
            if os.name == "nt":
                ctypes.WinDLL("kernel32").FreeLibrary(ctypes.c_void_p(library._handle))  # type: ignore[attr-defined]
            else:
                ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))


def _phones(events: ctypes._Pointer[_Event]) -> Iterator[Phone]:
    place = 0
    while events and events[place].type != _EVENT_END:
        if events[place].type == _EVENT_PHONEME:
            yield Phone(events[place].string.decode(errors="replace").strip("',"), events[place].audio_position / 1000)
        place += 1
