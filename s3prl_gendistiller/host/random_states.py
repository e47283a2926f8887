"""The states of torch's random numbers in a checkpoint, of one process or of all ranks.

Dropout and the draws for single utterances take these numbers. Each rank has numbers of its own.
"""

from __future__ import annotations

from typing import Any

import torch

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.resume import random_state

RANKS = "ranks"  # key of the states of all ranks, in their order


class RandomStates:
    """Restores the stored states right before the first batch of a process.

    With another number of ranks than stored, and in a new run of several ranks, the numbers of a rank follow from the
    seed, the position in the data, and the rank.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._own: dict[str, Any] | None = None
        self._derived = ranks.world() > 1

    def entry(self, device: torch.device | str) -> dict[str, Any]:
        """The entry `RNG` of a checkpoint; every rank has to call this function."""
        if ranks.world() == 1:
            cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
            return {"cpu": torch.get_rng_state(), "cuda": cuda}
        of_gpu = [torch.cuda.get_rng_state(device)] if torch.device(device).type == "cuda" else []
        states = ranks.gather({"cpu": torch.get_rng_state(), "cuda": of_gpu})
        return {**states[0], RANKS: states}

    def load(self, stored: Any) -> None:
        """Takes the entry of a checkpoint; UserError if the entry holds no states."""
        first = random_state(stored)
        of_all = [first]
        if first is not None and RANKS in first:
            given = first[RANKS]
            if not isinstance(given, list) or not all(isinstance(state, dict) for state in given):
                raise UserError("-e: found no list of states as RNG of the ranks; use an older checkpoint")
            of_all = [random_state(state) for state in given]
        self._derived = len(of_all) != ranks.world()
        self._own = None if self._derived else of_all[ranks.rank()]

    def restore(self, batches_done: int) -> None:
        """Restores the states; only the first call has an effect.

        This is no part of loading, because s3prl's Runner draws random numbers between loading and the first batch.
        """
        own, derived, self._own, self._derived = self._own, self._derived, None, False
        if derived:
            torch.manual_seed(ranks.seed_of(self._seed, batches_done, ranks.rank()))
        if own is None:
            return
        torch.set_rng_state(own["cpu"])
        if own["cuda"] and ranks.world() > 1:
            torch.cuda.set_rng_state(own["cuda"][0])
        elif own["cuda"] and torch.cuda.device_count() == len(own["cuda"]):
            torch.cuda.set_rng_state_all(own["cuda"])
