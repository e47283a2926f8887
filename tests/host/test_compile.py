"""`distill.compile`: compiled training equals plain training, few graphs are made, and faults are one message."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from hubert.random_teacher import write_random_teacher
from s3prl_gendistiller.distill import compiling
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.failures import user_cause
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert, task_expert
from s3prl_gendistiller.models.front_end import UtteranceGroupNorm
from s3prl_gendistiller.schema import read_layered_yaml
from tests.bench import TINY_TEACHER, Bench
from tests.forked_ranks import of_ranks
from tests.host.test_pretrain_expert import train
from tests.host.test_rank_task import CASES, DATA, STILL, steps

COMPILED = {"compile": True}


class Graphs:
    """A backend of torch.compile that counts the graphs and runs them as they are."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.count += 1
        return graph.forward


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graphs]:
    torch._dynamo.reset()
    backend = Graphs()
    monkeypatch.setattr(compiling, "BACKEND", backend)
    yield backend
    torch._dynamo.reset()


def with_compile(sections: dict[str, Any]) -> dict[str, Any]:
    return {**sections, "distill": {**sections.get("distill", {}), **COMPILED}}


def assert_equal(found: list[Any], expected: list[Any]) -> None:
    for (loss, gradients), (plain_loss, plain_gradients) in zip(found, expected, strict=True):
        assert loss == pytest.approx(plain_loss, rel=1e-5) and gradients.keys() == plain_gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, plain_gradients[name], rtol=1e-4, atol=1e-6, msg=name)


def many_cases() -> dict[str, tuple[str, dict[str, Any]]]:
    cases = {
        name: CASES[name] for name in ("gendistiller", "random_depth", "front_end_first", "distilhubert", "shared")
    }
    cases["all"] = ("gendistiller", {"student": {"history": "all"}})
    cases["checkpointed"] = ("gendistiller", {"student": {"gradient_checkpointing": True}})
    cases["bfloat16"] = ("gendistiller", {"teacher": {"precision": "bfloat16"}, "distill": {"precision": "bfloat16"}})
    return cases


@pytest.mark.parametrize("case", many_cases())
def test_compiled_steps_equal_plain_ones(case: str, make: Any, graphs: Graphs) -> None:
    task, sections = many_cases()[case]
    sections = {**sections, "student": {**STILL, **sections.get("student", {})}}
    expected = steps(make(task, DATA, **sections))
    assert graphs.count == 0
    compiled = make(task, DATA, **with_compile(sections))
    assert_equal(steps(compiled), expected)
    assert graphs.count > 1  # beside that of the trial
    names = {"student": compiled.model["student"], "teacher": compiled.task.teacher}
    assert not any("_orig_mod" in name for module in names.values() for name in module.state_dict())


def test_a_wavlm_is_compiled_without_a_break(bench: Bench, make: Any, graphs: Graphs, tmp_path: Path) -> None:
    wavlm = write_random_teacher(tmp_path / "wavlm", model_type="wavlm", **TINY_TEACHER)
    sections = {"teacher": {"folder": str(wavlm)}, "student": STILL}
    expected = steps(make(datarc=DATA, **sections))
    compiled = make(datarc=DATA, **with_compile(sections))
    broken: dict[str, int] = torch._dynamo.utils.counters["graph_break"]
    broken.clear()
    assert_equal(steps(compiled), expected)
    assert not broken


def test_few_padded_lengths_give_few_graphs(make: Any, graphs: Graphs) -> None:
    data = {"train_batch_size": 2, "crop_samples": 12_000}
    for count, most in ((2, 2), (None, 2)):
        torch._dynamo.reset()
        graphs.count = 0
        expert = make(datarc={**data, "padded_lengths": count}, student=STILL, distill=COMPILED)
        train(expert, 6)
        blocks, padding = 2, 2  # the layers of teacher and student, each with and without padding
        assert 1 < graphs.count <= 1 + blocks * padding * most


def test_scoring_and_eval_mode_run_uncompiled(make: Any, graphs: Graphs) -> None:
    expert = make(distill=COMPILED)
    made = graphs.count
    batch = next(iter(expert.get_train_dataloader()))
    expert.task.eval()
    with torch.no_grad():
        expert.task(batch.wavs, batch.lengths)
    assert graphs.count == made
    expert.train()
    expert(batch, records={}, global_step=1, log_step=1)
    assert graphs.count > made


def test_a_run_goes_on_exactly_and_without_the_key(make: Any, graphs: Graphs) -> None:
    whole = make(distill=COMPILED)
    train(whole, 2)
    states = whole.add_state_to_save({"Config": {}})
    states = {name: {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in value.items()}
              if isinstance(value, dict) else value for name, value in states.items()}  # fmt: skip
    goes_on = train(whole, 2, first=3)
    resumed = make(distill=COMPILED)
    resumed.load_model(states)
    assert train(resumed, 2, first=3) == goes_on
    plain = make()
    plain.load_model(states)
    assert train(plain, 2, first=3) == pytest.approx(goes_on, rel=1e-5)


def test_ranks_compile(make: Any, graphs: Graphs, tmp_path: Path) -> None:
    prepared = make.prepared(datarc=DATA, student=STILL)
    expected = of_ranks(1, tmp_path / "plain", lambda: steps(prepared()))[0]
    prepared = make.prepared(datarc=DATA, student=STILL, distill=COMPILED)
    for found in of_ranks(2, tmp_path / "compiled", lambda: steps(prepared())):
        assert_equal(found, expected)


def test_the_group_norm_is_compiled_where_a_gpu_runs_it(
    make: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UtteranceGroupNorm, "_one_by_one", UtteranceGroupNorm.all_at_once)
    expected = steps(make(datarc=DATA, student=STILL), 2)
    expert = make(datarc=DATA, student=STILL, distill=COMPILED)
    norms = [part for part in expert.task.modules() if isinstance(part, UtteranceGroupNorm)]
    assert len(norms) == 2 and all("normed" in vars(norm) for norm in norms)
    assert_equal(steps(expert, 2), expected)


def test_multi_gpu_is_refused(bench: Bench, make: Any, graphs: Graphs, tmp_path: Path) -> None:
    runner = read_layered_yaml(bench.runner(tmp_path))["pretrain_expert"]["datarc"]
    model = bench.model(tmp_path, distill={**COMPILED, "target_layers": [1, 3]})
    with pytest.raises(UserError, match="distill.compile: found true with --multi_gpu, expected false"):
        task_expert("gendistiller")(runner, str(model), "cpu", True)


def test_a_machine_that_cannot_compile_is_one_message(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_compiler(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler\nwas found")

    monkeypatch.setattr(compiling, "BACKEND", without_compiler)
    expected = (
        r"distill.compile: found true, and torch.compile does not work on cpu here .*no compiler was found.*g\+\+"
    )
    with pytest.raises(UserError, match=expected) as caught:
        make(distill=COMPILED)
    assert "set distill.compile to false" in str(caught.value) and "\n" not in str(caught.value)


def test_a_block_that_does_not_compile_names_the_key(
    make: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expert: PretrainExpert = make(distill=COMPILED)

    def refuses(self: Graphs, graph: Any, inputs: Any) -> Any:
        raise ValueError("an operation is not known")

    monkeypatch.setattr(Graphs, "__call__", refuses)
    expert.train()
    with pytest.raises(Exception, match="not known") as caught:
        expert(next(islice(expert.get_train_dataloader(), 1)), records={}, global_step=1, log_step=1)
    cause = user_cause(caught.value)
    assert cause is not None and "torch.compile could not compile a block" in cause
    assert "an operation is not known" in cause and "set distill.compile to false" in cause


def test_other_errors_are_not_taken_for_those_of_the_compiler() -> None:
    assert compiling.compiler_fault(RuntimeError("torch._inductor")) is None and user_cause(KeyError("x")) is None


def test_the_trial_of_a_compiler_is_a_real_one() -> None:
    torch._dynamo.reset()
    if shutil.which("g++") is None:
        with pytest.raises(UserError, match=r"distill.compile: found true.*a C\+\+ compiler"):
            compiling.require_compiler(torch.device("cpu"))
    else:
        compiling.require_compiler(torch.device("cpu"))
    torch._dynamo.reset()
