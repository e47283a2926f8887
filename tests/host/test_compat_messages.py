"""Which lines of s3prl and its libraries are left out, in which processes, and that all others stay."""

from __future__ import annotations

import logging
import multiprocessing
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3prl_gendistiller.host import compat_messages
from tests.conftest import run_python

ESPNET = ("s3prl.upstream.espnet_hubert.expert", "ESPnet is not installed, cannot use espnet_hubert upstream")


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Filters, the variable and the switch as they were, after each test."""
    monkeypatch.setenv(compat_messages.VARIABLE, "0")
    monkeypatch.setitem(compat_messages._state, "quiet", False)
    loggers = [logging.getLogger(name) for name in compat_messages._LOGGED]
    before = [logger.filters[:] for logger in loggers]
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for logger in loggers:
            logger.filters.clear()
        yield
    for logger, filters in zip(loggers, before, strict=True):
        logger.filters[:] = filters


def warned(text: str, category: type[Warning], module: str) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.warn_explicit(text, category, "file.py", 1, module)
    return bool(caught)


@pytest.mark.parametrize(
    ("text", "category", "module"),
    [
        ("`torch.nn.utils.weight_norm` is deprecated", FutureWarning, "torch.nn.utils.weight_norm"),
        ("`torch.cuda.amp.autocast(args...)` is deprecated.", FutureWarning, "s3prl.upstream.distiller.builder"),
        ("`torch.jit.script` is deprecated.", DeprecationWarning, "torchaudio.functional"),
        ("distutils Version classes are deprecated.", DeprecationWarning, "torch_complex"),
        ("This overload of add_ is deprecated:\n\tadd_(Number alpha)", UserWarning, "optimizers"),
        ("pkg_resources is deprecated as an API. See", UserWarning, "catalyst"),
        ("'pin_memory' argument is set as true but no accelerator is found, then", UserWarning, "torch.utils.data"),
        ("torch.cuda: CUDA is not available", UserWarning, "torch.amp"),
    ],
)
def test_a_listed_warning_is_left_out_and_a_verbose_command_shows_it(text, category, module) -> None:
    assert warned(text, category, module)
    compat_messages.choose(False)
    assert not warned(text, category, module)


@pytest.mark.parametrize(
    ("text", "category", "module"),
    [
        ("the values are not finite", UserWarning, "torch"),
        ("this objective's call is deprecated", FutureWarning, "somebody.objective"),
        ("this call of ours is deprecated", FutureWarning, "s3prl_gendistiller.distill.task"),
        ("overflow encountered in exp", RuntimeWarning, "numpy"),
        ("`lr_scheduler.step()` before `optimizer.step()`", UserWarning, "torch.optim.lr_scheduler"),
    ],
)
def test_any_other_warning_stays(text, category, module) -> None:
    compat_messages.choose(False)
    assert warned(text, category, module)


def test_a_listed_message_of_a_logger_is_left_out_and_its_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    compat_messages.choose(False)
    compat_messages.choose(False)
    name, line = ESPNET
    logging.getLogger(name).warning(line)
    logging.getLogger(name).warning("another line")
    logging.getLogger("sox").warning("SoX could not be found!\n")
    logging.warning("Diarization label frame shfit: %d. It is", 320)
    logging.warning("root")
    assert [record.getMessage() for record in caplog.records] == ["another line", "root"]


def test_a_verbose_command_leaves_nothing_out(caplog: pytest.LogCaptureFixture) -> None:
    compat_messages.choose(True)
    name, line = ESPNET
    logging.getLogger(name).warning(line)
    assert caplog.messages == [line] and warnings.filters == []
    assert logging.getLogger("s3prl_gendistiller").level == logging.DEBUG


def test_listed_lines_of_prints_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    compat_messages.unlisted_print("[DistillerModel] - Out layer type: expand-last")
    compat_messages.unlisted_print("[DistillerBuilder] - Maximum input length: ", 1, end="!\n")
    compat_messages.unlisted_print()
    assert capsys.readouterr().out == "[DistillerBuilder] - Maximum input length:  1!\n\n"


def _child(pipe) -> None:
    compat_messages.choose(False)
    pipe.send(compat_messages.is_verbose())


def test_a_process_that_a_verbose_command_starts_is_verbose_too() -> None:
    found = []
    for verbose in (False, True):
        compat_messages.choose(verbose)
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_child, args=(theirs,))
        process.start()
        found.append(ours.recv())
        process.join()
    assert found == [False, True] and os.environ[compat_messages.VARIABLE] == "1"


CODE = """
import logging, sys
from s3prl_gendistiller.cli import launch
from s3prl_gendistiller.host import compat_messages, mount
launch.configure_logging()
compat_messages.choose(sys.argv[1] == "verbose")
mount.mount_hub()
mount.compat_messages.import_sox()
from s3prl.upstream.distiller import model
vars(model).get("print", print)("[DistillerModel] - line")
"""


def test_a_command_is_told_once_what_was_supplied_and_a_verbose_one_each_time(tmp_path: Path) -> None:
    """Three processes in the same environment, with the real s3prl."""
    answers = [
        run_python("-c", CODE, mode, env={"XDG_CACHE_HOME": str(tmp_path)}) for mode in ("quiet", "quiet", "verbose")
    ]
    assert [answer.returncode for answer in answers] == [0, 0, 0], answers[0].stderr
    first, second, verbose = answers
    assert first.stderr.count("\n") == 1 and "supplied" in first.stderr and "said once" in first.stderr
    assert second.stderr == second.stdout == ""
    assert all(text in verbose.stderr for text in ("supplied", "ESPnet is not installed", "s3prl.hub: added"))
    assert verbose.stdout == "[DistillerModel] - line\n"
