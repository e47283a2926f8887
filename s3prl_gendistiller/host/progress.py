"""The progress of a training run: one bar in a terminal, and a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from s3prl_gendistiller.host.saving import named_by_step
from s3prl_gendistiller.host.training_guard import TrainingGuard

LINES = 100  # about as many in the log of a run
SHORTEST, LONGEST = 10.0, 600.0  # seconds between two lines of a log
_FORMAT = "{desc} |{bar}| {rate_fmt} {remaining} left"


class Bars:
    """Takes the place of `tqdm` in the module of s3prl's pretraining Runner.

    The Runner draws a bar for the run and one for each epoch. Here the bar of the run also shows the losses, and the
    others are left out.
    """

    def __init__(self, guard: TrainingGuard) -> None:
        self._guard = guard

    def __call__(self, batches: Any = None, *, total: int = 0, **options: Any) -> Any:
        return StepBar(total, self._guard) if batches is None else batches

    def write(self, text: str) -> None:
        """`tqdm.write` of the Runner, which names a checkpoint before it is saved."""
        tqdm.write(named_by_step(text, self._guard.step))


class StepBar:
    """The bar of a run: step, loss, held-out loss, rate and time left.

    The loss is the mean of the last batches (`TrainingGuard.recent_losses`), the held-out loss the last score.
    """

    def __init__(self, total: int, guard: TrainingGuard) -> None:
        self.total = total
        self._guard = guard
        self._done = self._first = 0
        self._begun = time.monotonic()
        self._written: float | None = None  # time of the last line
        self._bar: tqdm | None = None

    @property
    def n(self) -> int:
        """Steps that are done. The Runner sets them when a run goes on."""
        return self._done

    @n.setter
    def n(self, steps: int) -> None:
        self._done = self._first = steps

    def update(self, steps: int = 1) -> None:
        """Counts `steps` as done, and shows the progress if it is time to."""
        self._done += steps
        if sys.stderr.isatty():
            if self._bar is None:
                form = {"bar_format": _FORMAT, "unit": " steps", "dynamic_ncols": True}
                self._bar = tqdm(total=self.total, initial=self._first, **form)
            self._bar.set_description_str(self._text(brief=True), refresh=False)
            self._bar.update(steps)
            return
        now = time.monotonic()
        rate = (self._done - self._first) / max(now - self._begun, 1e-9)
        pause = min(max((self.total - self._first) / rate / LINES, SHORTEST), LONGEST)
        early = now - self._begun < SHORTEST if self._written is None else now - self._written < pause
        if not early or self._done >= self.total:
            self._written = now
            speed = speed_in_words(rate)
            left = tqdm.format_interval((self.total - self._done) / rate)
            end = f"{left} left" if self._done < self.total else f"{tqdm.format_interval(now - self._begun)} in all"
            print(f"[gendistiller] {self._text()}, {speed}, {end}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar, which stays on the screen."""
        if self._bar is not None:
            self._bar.close()

    def _text(self, *, brief: bool = False) -> str:
        """Step and losses; `brief` for a bar, which has to fit into 80 columns with rate and time left."""
        of, name = ("/", "held-out") if brief else (" of ", "held-out loss")
        text, losses = f"step {self._done:,}{of}{self.total:,}", self._guard.recent_losses
        if losses:
            text += f", loss {sum(losses) / len(losses):.4g}"
        held_out = getattr(self._guard.task, "held_out_loss", None)
        return text if held_out is None else f"{text}, {name} {held_out:.4g}"


def speed_in_words(rate: float) -> str:
    """Steps per second, or seconds per step where these are more than one."""
    return f"{rate:.1f} steps a second" if rate >= 1 else f"{1 / rate:.1f} seconds a step"
