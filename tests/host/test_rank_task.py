"""Loss and gradient of several ranks equal those of one process, for both students; states of random numbers."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from s3prl_gendistiller.distill import ranks
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert
from s3prl_gendistiller.host.random_states import RandomStates
from tests.forked_ranks import of_ranks

STILL = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
DATA = {"train_batch_size": 4, "valid_step": 2}  # of ten utterances: batches of 4, 4 and 2

Step = tuple[float, dict[str, torch.Tensor]]


def steps(expert: PretrainExpert, count: int = 4) -> list[Step]:
    """Loss and gradients of the first batches at fixed weights; the last two steps accumulate."""
    expert.train()
    found: list[Step] = []
    epochs = (batch for _ in range(count) for batch in expert.get_train_dataloader())
    for batch in islice(epochs, count):
        if len(found) < count - 1:
            expert.model.zero_grad()
        loss, _ = expert(batch, records={}, global_step=len(found) + 1, log_step=1)
        loss.backward()
        named = expert.model.named_parameters()
        found.append((float(loss.detach()), {n: p.grad.clone() for n, p in named if p.grad is not None}))
    return found


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gendistiller": ("gendistiller", {}),
    "teacher_forced": ("gendistiller", {"distill": {"feedback": "teacher_forced"}}),
    "random_depth": ("gendistiller", {"distill": {"random_depth": True}}),
    "front_end_first": (
        "gendistiller",
        {"distill": {"front_end_steps": 2}, "warm_start": {"front_end": False, "position": False}},
    ),
    "frozen": ("distilhubert", {"student": {"feature_grad_mult": 0.0}}),
    "distilhubert": ("distilhubert", {}),
    "shared": ("gendistiller", {"distill": {"share_front_end": True}, "student": {"feature_grad_mult": 0.0}}),
    "relations": (
        "gendistiller",
        {"distill": {"target_layers": [1, 2, 3]}, "objectives": [{"name": "layerwise"}, {"name": "ckd"}]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_several_ranks_have_the_loss_and_gradient_of_one_process(
    case: str, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, sections = CASES[case]
    sections = {**sections, "student": {**STILL, **sections.get("student", {})}}
    if task == "distilhubert":
        sections["student"]["encoder_layerdrop"] = 0.0
    if case == "random_depth":  # one process draws from torch's global generator
        count = 0

        def drawn(low: int, high: int, shape: tuple) -> torch.Tensor:
            nonlocal count
            count += 1
            return torch.tensor(ranks.draw(1, 2, 0, count, 1))

        monkeypatch.setattr(torch, "randint", drawn)
    build = make.prepared(task, datarc=DATA, **sections)
    alone = steps(build())
    for world in (2, 3) if case == "gendistiller" else (3,):
        for found in of_ranks(world, tmp_path / "stores", lambda: steps(build())):
            for (loss, gradients), (expected, wanted) in zip(found, alone, strict=True):
                assert loss == pytest.approx(expected, rel=1e-6)
                assert gradients.keys() == wanted.keys()
                largest = max(float(value.abs().max()) for value in wanted.values())
                for name, value in wanted.items():
                    assert torch.allclose(gradients[name], value, rtol=1e-4, atol=1e-6 * largest), name


def test_ranks_keep_the_teachers_layers_of_their_shares(make: Any, tmp_path: Path) -> None:
    kept = {"cache_teacher": str(tmp_path / "kept"), "valid_sets": []}
    build = make.prepared(datarc=DATA)
    cached = make.prepared(datarc={**DATA, **kept})

    def counted() -> tuple[list[float], int]:
        expert = cached()
        calls: list[None] = []
        expert.task.teacher.encoder.feature_extractor.register_forward_hook(lambda *_: calls.append(None))
        return [loss for loss, _ in steps(expert, 3)], len(calls)

    expected = of_ranks(3, tmp_path / "stores", lambda: [loss for loss, _ in steps(build(), 3)])
    cold, warm = (of_ranks(3, tmp_path / "stores", counted) for _ in range(2))
    assert [losses for losses, _ in cold] == [losses for losses, _ in warm] == expected
    assert sum(calls for _, calls in cold) > 0
    # of the batch of two, the third rank has no share: its stand-in is computed
    assert [calls for _, calls in warm] == [0, 0, 1]
    assert len({path.parent.name for path in (tmp_path / "kept").rglob("*.npz")}) == 1
    (folder,) = {path.parent.name for path in (tmp_path / "kept").rglob("*.npz")}
    assert folder.endswith("-batch4-ranks3")


def test_a_run_of_ranks_goes_on_with_the_random_numbers_of_an_unbroken_one(make: Any, tmp_path: Path) -> None:
    build = make.prepared(datarc=DATA)  # with dropout

    def unbroken() -> list[float]:
        return [loss for loss, _ in steps(build(), 4)]

    def saved() -> dict[str, Any]:
        expert = build()
        steps(expert, 2)
        return expert.add_state_to_save({"Config": {}})

    whole = of_ranks(2, tmp_path / "stores", unbroken)
    assert whole[0] == whole[1]
    states = of_ranks(2, tmp_path / "stores", saved)[0]
    first, second = states["RNG"]["ranks"]
    assert not torch.equal(first["cpu"], second["cpu"])  # each rank drops other units

    def resumed() -> list[float]:
        expert = build()
        expert.load_model(states)
        torch.randn(100)  # the Runner draws random numbers between loading and the first batch
        return [loss for loss, _ in steps(expert, 2)]

    assert of_ranks(2, tmp_path / "stores", resumed) == [found[2:] for found in whole]
    again = [of_ranks(3, tmp_path / "stores", resumed) for _ in range(2)]
    assert again[0] == again[1] and again[0][0] != whole[0][2:]  # derived, and the same each time


def test_states_of_random_numbers_that_no_run_stores_are_refused() -> None:
    own = {"cpu": torch.get_rng_state(), "cuda": []}
    for wrong in (3, [3], [{"cpu": torch.zeros(3)}]):
        with pytest.raises(UserError, match="RNG"):
            RandomStates(0).load({**own, "ranks": wrong})
    states = RandomStates(0)
    states.load({**own, "ranks": [own, own]})  # of two ranks, in one process: derived
    states.restore(7)
    derived = torch.rand(1)
    states.restore(7)  # no effect
    assert not torch.equal(derived, torch.rand(1))
