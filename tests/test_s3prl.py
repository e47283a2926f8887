"""`import s3prl_gendistiller.s3prl`, then s3prl's own interface, each in a fresh process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s3prl_gendistiller.host.students import build_student
from s3prl_gendistiller.s3prl import main
from tests.conftest import run_python
from tests.host.test_checkpoint import CONFIG, save_student
from tests.host.test_launchers import succeed

LINE = "import sys, torch, s3prl_gendistiller.s3prl\nfrom s3prl.nn import S3PRLUpstream, Featurizer\n"
# What the failing first import leaves behind differs: s3prl.nn and s3prl.hub stop halfway where torchaudio cannot load.
ORDERS = """
import sys
try:
    __import__(sys.argv[1])
except Exception as error:
    print("FAILED FIRST", type(error).__name__)
import torch, s3prl_gendistiller.s3prl
from s3prl.nn import S3PRLUpstream, Featurizer
names = S3PRLUpstream.available_names()
assert {"gendistiller_local", "gendistiller_url", "transformers_local", "distiller_local", "fbank"} <= {*names}
assert "gendistiller_local" not in S3PRLUpstream.available_names(only_registered_ckpt=True)
states, lengths = S3PRLUpstream("fbank").eval()(torch.randn(2, 16000), torch.tensor([16000, 9000]))
assert len(states) == 1 and states[0].shape == (2, 100, 240), states[0].shape
print("WORKS")
"""
# Per place: the contract, a padded batch against its utterances alone, fewer steps, normalize, and fine-tuning.
CONTRACT = """
torch.manual_seed(0)
wavs, ends = 0.1 * torch.randn(3, 16000, 1), torch.tensor([16000, 9000, 5000])

def alone(upstream, row):
    end = int(ends[row])
    return upstream(wavs[row : row + 1, :end], ends[row : row + 1])

gendistiller, baseline = sys.argv[1:]
upstream = S3PRLUpstream("gendistiller_local", path_or_url=gendistiller).eval()
assert (upstream.num_layers, upstream.hidden_sizes, upstream.downsample_rates) == (3, [24] * 3, [320] * 3)
with torch.no_grad():
    states, lengths = upstream(wavs, ends)
    assert [tuple(state.shape) for state in states] == [(3, 50, 24)] * 3 and lengths[0].tolist() == [50, 29, 16]
    for row, frames in enumerate(lengths[0].tolist()):
        own, counted = alone(upstream, row)
        assert counted[0].tolist() == [frames]
        for state, expected in zip(states, own):
            torch.testing.assert_close(state[row, :frames], expected[0], atol=2e-5, rtol=1e-4)
    feature, counted = Featurizer(upstream)(states, lengths)
    torch.testing.assert_close(feature, torch.stack(states).mean(0))
    fewer = {"steps": 1}, {"model_config": "steps: 1"}
    for extra in fewer:
        few = S3PRLUpstream("gendistiller_local", path_or_url=gendistiller, extra_conf=extra).eval()(wavs, ends)[0]
        assert len(few) == 2 and torch.equal(few[1], states[1])
    normal = S3PRLUpstream("gendistiller_local", path_or_url=gendistiller, normalize=True).eval()(wavs, ends)[0]
    torch.testing.assert_close(normal[1], torch.nn.functional.layer_norm(states[1], (24,)))

for place in (gendistiller, baseline):
    upstream = S3PRLUpstream("gendistiller_local", path_or_url=place).train()
    featurizer = Featurizer(upstream)
    for _ in range(8):  # with layers dropped at random, s3prl would miss hidden states
        feature, _ = featurizer(*upstream(wavs, ends))
    feature.sum().backward()
    assert not [name for name, weight in upstream.named_parameters() if weight.grad is None]

with torch.no_grad():  # s3prl's own DistilHuBERT reads the same file
    ours, theirs = (S3PRLUpstream(name, path_or_url=baseline).eval()(wavs, ends)[0]
                    for name in ("gendistiller_local", "distiller_local"))
    layers = upstream.upstream.student.distiller.n_tasks
    assert len(ours) == 5 and layers == 2
    for mine, other in zip(ours[:3], theirs):
        torch.testing.assert_close(mine[0], other[0], atol=1e-5, rtol=1e-4)

import copy  # the calls that ESPnet's S3prlFrontend makes of s3prl, without ESPnet: last layer, weighted sum, one layer
assert "gendistiller_local" in S3PRLUpstream.available_names()
upstream = S3PRLUpstream("gendistiller_local", path_or_url=gendistiller, normalize=False, extra_conf=None)
upstream.eval()
kept = copy.deepcopy(upstream.state_dict())
states, lengths = upstream(wavs[:, :, 0], ends)
last, counted = Featurizer(upstream, layer_selections=None)(states[-1:], lengths[-1:])
assert torch.equal(last, states[-1]) and counted.tolist() == [50, 29, 16]
assert Featurizer(upstream)(states, lengths)[0].shape == (3, 50, 24)
assert Featurizer(upstream, layer_selections=[1]).output_size == 24
upstream.load_state_dict(kept)
print("WORKS")
"""
REFUSALS = """
from s3prl_gendistiller.errors import UserError
student = sys.argv[1]
wrong = {
    "no such checkpoint": {"path_or_url": "none.ckpt"},
    "found no student, expected a checkpoint": {},
    "steps: found 3, expected 1..2": {"path_or_url": student, "extra_conf": {"steps": 3}},
    "steps: found 0": {"path_or_url": student, "extra_conf": {"steps": 0}},
    "steps: found 'two'": {"path_or_url": student, "extra_conf": {"steps": "two"}},
    "found step, expected steps or model_config": {"path_or_url": student, "extra_conf": {"step": 1}},
    "found steps and model_config": {"path_or_url": student, "extra_conf": {"steps": 1, "model_config": "steps: 1"}},
}
for message, given in wrong.items():
    try:
        S3PRLUpstream("gendistiller_local", **given)
    except UserError as error:
        assert message in str(error), error
    else:
        raise AssertionError(given)
upstream = S3PRLUpstream("gendistiller_local", path_or_url=student)
for wavs, ends, message in ((torch.zeros(1, 8000, 2), [8000], "an utterance of shape (8000, 2), expected (S,)"),
                            (torch.zeros(2, 8000), [8000, 300], "300")):
    try:
        upstream(wavs, torch.tensor(ends))
    except ValueError as error:
        assert message in str(error), error
    else:
        raise AssertionError(message)
print("WORKS")
"""
# A program that s3prl's interface runs in, as ESPnet does; spawned processes import it again.
PROGRAM = """
import multiprocessing
import sys

def knows(queue):
    import s3prl.hub
    queue.put(hasattr(s3prl.hub, "gendistiller_local"))

if __name__ == "__main__":
    from s3prl.nn import S3PRLUpstream
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    from program import knows
    process = context.Process(target=knows, args=(queue,))
    process.start()
    print(sys.argv[1:], "gendistiller_local" in S3PRLUpstream.available_names(), queue.get())
    process.join()
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoints of a GenDistiller, and of a DistilHuBERT that drops layers in training."""
    folder = tmp_path_factory.mktemp("students")
    torch.manual_seed(0)
    config = {**CONFIG, "student": {**CONFIG["student"], "encoder_layerdrop": 0.5}}
    distiller = build_student(config, task="distilhubert")
    stored = {"Distiller": distiller.stored_module.state_dict(), "Config": distiller.host_config()}
    baseline = save_student(folder / "baseline.ckpt", GenDistiller=None, Upstream_Config=config, **stored)
    return save_student(folder / "student.ckpt"), baseline


@pytest.mark.parametrize("first", ["s3prl.nn", "s3prl.hub"])
def test_the_line_works_after_imports_that_failed_or_did_not(first: str) -> None:
    assert "WORKS" in succeed(run_python("-c", ORDERS, first)).stdout


def test_a_student_keeps_the_contract_of_s3prls_interface(places: tuple[Path, Path]) -> None:
    assert "WORKS" in succeed(run_python("-c", LINE + CONTRACT, *places)).stdout


def test_what_it_does_not_take_is_refused(places: tuple[Path, Path]) -> None:
    assert "WORKS" in succeed(run_python("-c", LINE + REFUSALS, places[0])).stdout


def test_a_program_of_others_runs_after_the_line_and_so_do_its_processes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    answer = succeed(run_python("-m", "s3prl_gendistiller.s3prl", "-m", "program", "--flag", "1", cwd=tmp_path))
    assert answer.stdout.splitlines()[-1] == "['--flag', '1'] True True"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "found no program, expected -m MODULE"),
        (("--config", "x.yaml"), "found --config x.yaml, expected -m MODULE"),
        (("-m",), "found -m, expected -m MODULE"),
        (("none.py", "1"), "none.py: no such script"),
    ],
)
def test_no_program_is_refused(given: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given) == 2 and message in capsys.readouterr().err
