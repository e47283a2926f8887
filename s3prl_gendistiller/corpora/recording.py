"""Writer of clips as audio files, on all cores; each file is written whole or not at all, existing ones are kept."""

from __future__ import annotations

import contextlib
import functools
import io
import multiprocessing
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType

import soundfile
from tqdm import tqdm

from s3prl_gendistiller.corpora.clips import Clip, Conversation
from s3prl_gendistiller.corpora.espeak import Espeak
from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.processes import follow_parent
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.formats.rttm import Turn
from s3prl_gendistiller.outputs import replacing, write_text

TURNS = "turns"  # folder of RTTM files with the turns of each recording, beside the folder of the recordings
_CHUNK = 8
_FEW = 24  # clips that this process speaks faster than worker processes start


class Recorder(contextlib.AbstractContextManager["Recorder"]):
    """Context manager that keeps its worker processes from one list of clips to the next.

    The number of processes is one per core for None; 1 stands for this process alone.
    """

    def __init__(self, workers: int | None = None, *, progress: bool = True) -> None:
        self.workers = workers or os.cpu_count() or 1
        self.progress = progress
        self._pool: ProcessPoolExecutor | None = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def record(self, root: Path, clips: Sequence[Clip]) -> None:
        """Writes every clip whose file does not exist yet.

        Raises:
            UserError: a file cannot be written, espeak-ng is missing or lacks a voice, or a worker process ended early.
        """
        todo = [clip for clip in clips if not all(file.exists() for file in files_of(root, clip))]
        chunks = [todo[i : i + _CHUNK] for i in range(0, len(todo), _CHUNK)]
        done = len(clips) - len(todo)
        with tqdm(desc=root.name, total=len(clips), initial=done, unit="clip", disable=not self.progress) as bar:
            for count in self._counts(root, chunks, few=len(todo) <= _FEW):
                bar.update(count)

    def _counts(self, root: Path, chunks: Sequence[Sequence[Clip]], *, few: bool) -> Iterable[int]:
        """Numbers of clips that were written, chunk by chunk."""
        if self.workers == 1 or few:
            yield from (_record(root, chunk) for chunk in chunks)
            return
        if self._pool is None:
            # A forked worker starts at once and does not import the caller's __main__; elsewhere forking is not safe.
            context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=follow_parent)
        try:
            tasks = [self._pool.submit(_record, root, chunk) for chunk in chunks]
            for task in as_completed(tasks):
                yield task.result()
        except BrokenProcessPool as error:
            raise UserError(
                f"{root}: a worker process ended early, perhaps for lack of memory; repeat the command with fewer "
                "--workers, which keeps the written files"
            ) from error


def files_of(root: Path, clip: Clip) -> list[Path]:
    """The audio file of a clip, and the file of turns if it is a conversation."""
    audio = root / clip.path
    return [audio, turns_file(audio)] if isinstance(clip, Conversation) else [audio]


def turns_file(audio: Path) -> Path:
    """File of the turns of a conversation, outside the folder of audio, which s3prl lists."""
    return audio.parent.parent / TURNS / f"{audio.stem}.rttm"


def duration_s(path: Path) -> float:
    """Length of an audio file, from its header."""
    info = soundfile.info(path)
    return info.frames / info.samplerate


def rttm(recording: str, turns: Iterable[Turn]) -> str:
    """Turns as lines of an RTTM file, times in seconds."""
    return "".join(
        f"SPEAKER {recording} 1 {turn.start_s:.3f} {turn.end_s - turn.start_s:.3f} <NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in turns
    )


def _record(root: Path, clips: Sequence[Clip]) -> int:
    """Runs in a worker process."""
    for clip in clips:
        recording = clip.record(_engine())
        target = root / clip.path
        if recording.turns:
            write_text(turns_file(target), rttm(target.stem, recording.turns))
        encoded = io.BytesIO()  # libsndfile does not report a full disk
        soundfile.write(encoded, recording.wav, SAMPLE_RATE, subtype="PCM_16", format=target.suffix[1:])
        with replacing(target) as part:
            part.write_bytes(encoded.getbuffer())
    return len(clips)


@functools.lru_cache(maxsize=1)
def _engine() -> Espeak:
    return Espeak()
