"""Each shim in a process of its own: what it supplies, what it leaves alone, and that it acts once."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import run_python


def run_code(code: str, *, env: dict[str, str] | None = None) -> str:
    """What the code prints, in a new process; it must end well."""
    done = run_python("-c", textwrap.dedent(code), env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_second_apply_supplies_nothing():
    out = run_code("""
        import sys
        from s3prl_gendistiller.host import compat
        first = compat.apply()
        print(len(first) > 0, compat.apply(), "transformers" in sys.modules)
    """)
    assert out == "True [] False"


def test_apply_says_what_it_did_in_one_log_line(tmp_path):
    out = run_code(
        """
        import logging
        from s3prl_gendistiller.host import compat
        logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
        logging.getLogger().handlers[0].setStream(__import__("sys").stdout)
        compat.apply(); compat.apply()
    """,
        env={"XDG_CACHE_HOME": str(tmp_path)},
    )
    assert out.count("s3prl_gendistiller.host.compat") == 1
    assert "supplied" in out


def test_the_host_imports_after_apply():
    out = run_code("""
        from s3prl_gendistiller.host import compat
        compat.apply()
        import s3prl.hub, s3prl.run_downstream
        import s3prl.downstream.asr.expert, s3prl.downstream.speech_commands.expert
        print("imported")
    """)
    assert out.splitlines()[-1] == "imported"


def test_the_hub_classes_that_are_still_there_are_left_alone():
    out = run_code(
        """
        import huggingface_hub
        own = [name for name in ("HfFolder", "Repository") if hasattr(huggingface_hub, name)]
        from s3prl_gendistiller.host import compat
        compat.apply()
        classes = [getattr(huggingface_hub, name) for name in ("HfFolder", "Repository")]
        print(own == [found.__name__ for found in classes if found.__module__.startswith("huggingface_hub")])
        print(huggingface_hub.HfApi().login(username=None, password=None))
    """,
        env={"HF_TOKEN": "mine"},
    )
    assert out.split() == ["True", "mine"]


def test_snapshot_download_takes_the_call_that_the_host_makes(tmp_path):
    """A model in the local cache is found, by the old positional revision and `use_auth_token`."""
    commit = "c0ffee" * 6 + "c0ff"
    repository = tmp_path / "models--someone--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "expert.py").touch()
    out = run_code(
        """
        from s3prl_gendistiller.host import compat
        compat.apply()
        from huggingface_hub import snapshot_download
        print(snapshot_download("someone/model", None, use_auth_token=True))
        print(snapshot_download(repo_id="someone/model", revision="main"))  # 1.33 asks the network about a commit
        """,
        env={"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
    )
    assert [Path(line).name for line in out.splitlines()] == [commit, commit]


def test_catalyst_is_supplied_only_where_it_cannot_be_imported(tmp_path):
    code = """
        from s3prl_gendistiller.host import compat
        compat.apply()
        from catalyst.data.sampler import DistributedSamplerWrapper
        print(DistributedSamplerWrapper.__module__)
    """
    assert run_code(code) == "s3prl_gendistiller.host.shims.samplers"
    package = tmp_path / "catalyst" / "data"
    package.mkdir(parents=True)
    (package / "sampler.py").write_text("class DistributedSamplerWrapper: pass\n")
    path = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    assert run_code(code, env=path) == "catalyst.data.sampler"
    (package.parent / "__init__.py").write_text("from collections import MutableMapping\n")
    assert run_code(code, env=path) == "s3prl_gendistiller.host.shims.samplers"


def test_distutils_is_supplied_only_where_python_has_none():
    code = """
        import sys
        class Without:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "distutils" and {absent}:
                    raise ModuleNotFoundError(name)
        import importlib.util
        found = importlib.util.find_spec
        importlib.util.find_spec = lambda name: None if {absent} and name == "distutils" else found(name)
        sys.meta_path.insert(0, Without())
        from s3prl_gendistiller.host import compat
        print("distutils.util.strtobool" in compat.apply())
        from distutils.util import strtobool
        print(int(strtobool("yes")), int(strtobool("OFF")))
    """
    assert run_code(code.format(absent=True)).split() == ["True", "1", "0"]
    if sys.version_info < (3, 12):
        assert run_code(code.format(absent=False)).split() == ["False", "1", "0"]


def test_a_log_without_an_event_ends_without_a_word(tmp_path):
    code = "from s3prl_gendistiller.host import compat; print(compat.apply())\n"
    code += f"from tensorboardX import SummaryWriter; SummaryWriter({str(tmp_path)!r}); print(compat.apply())"
    done = run_python("-c", code)
    first, second = done.stdout.splitlines()
    assert (done.returncode, done.stderr, second) == (0, "", "[]")
    assert ("tensorboardX" in first) == (sys.version_info >= (3, 12))


@pytest.mark.parametrize("module", ["optimizers", "s3prl.optimizers"])
def test_checkpoints_of_the_host_load_with_either_name_of_its_modules(tmp_path, module):
    write = f"""
        import argparse, importlib, sys, torch
        from s3prl_gendistiller.host.locate import find_host
        sys.path.insert(0, str(find_host().package))
        optimizers = importlib.import_module({module!r})
        model = torch.nn.Linear(2, 2)
        model(torch.ones(1, 2)).sum().backward()
        states = {{}}
        for name in ("BertAdam", "AdamW", "Lamb"):
            config = {{"name": name + "_with_schedule", "lr": 1e-3}}
            optimizer = optimizers.get_optimizer([model], 10, config)
            optimizer.step()
            states[name] = optimizer.state_dict()
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        states["Scheduler"] = scheduler.state_dict()
        torch.save({{"Args": argparse.Namespace(a=1), **states}}, "{tmp_path}/states-1.ckpt")
    """
    run_code(write)
    read = f"""
        import sys, torch
        try:
            torch.load("{tmp_path}/states-1.ckpt")
        except Exception as error:
            print(type(error).__name__)
        from s3prl_gendistiller.host import compat
        compat.apply()
        states = torch.load("{tmp_path}/states-1.ckpt")
        print(states["Args"].a, "optimizers" in sys.modules)
        from s3prl.optimizers import get_optimizer
        optimizer = get_optimizer([torch.nn.Linear(2, 2)], 10, {{"name": "AdamW_with_schedule", "lr": 1e-3}})
        optimizer.load_state_dict(states["AdamW"])
        print(optimizer.param_groups[0]["schedule"].get_lr(5) > 0)
    """
    assert run_code(read).split() == ["UnpicklingError", "1", "False", "True"]


def test_the_allow_list_lets_no_code_through(tmp_path):
    out = run_code(f"""
        import os, torch
        from s3prl_gendistiller.host import compat
        class Evil:
            def __reduce__(self): return os.mkdir, ("{tmp_path}/run",)
        torch.save({{"Args": Evil()}}, "{tmp_path}/evil.ckpt")
        compat.apply()
        try:
            torch.load("{tmp_path}/evil.ckpt")
        except Exception as error:
            print(type(error).__name__, os.path.exists("{tmp_path}/run"))
    """)
    assert out == "UnpicklingError False"


def test_a_script_runs_as_main_with_its_arguments_and_folder(tmp_path):
    (tmp_path / "neighbour.py").write_text("word = 'near'\n")
    script = tmp_path / "script.py"
    script.write_text("import sys, neighbour, torchaudio\nprint(__name__, sys.argv[1:], neighbour.word)\n")
    done = run_python("-m", "s3prl_gendistiller.host.compat", script, "-a", "b")
    assert (done.returncode, done.stdout.strip()) == (0, "__main__ ['-a', 'b'] near")


def test_a_script_in_a_checkout_gets_that_checkout(tmp_path):
    package = tmp_path / "clone" / "s3prl"
    package.mkdir(parents=True)
    (tmp_path / "clone" / "setup.py").touch()
    (package / "version.txt").write_text("0.4.18\n")
    for name in ("__init__", "hub"):
        (package / f"{name}.py").touch()
    (package / "optimizers.py").write_text(
        "from torch.optim.lr_scheduler import ConstantLR\n"
        + "".join(
            f"class {name}: pass\n"
            for name in (
                "WarmupConstantSchedule",
                "WarmupCosineSchedule",
                "WarmupCosineWithHardRestartsSchedule",
                "WarmupCosineWithWarmupRestartsSchedule",
                "WarmupLinearSchedule",
            )
        )
    )
    (package / "run_downstream.py").write_text("import s3prl.hub\nprint(s3prl.hub.__file__)\n")
    done = run_python("-m", "s3prl_gendistiller.host.compat", "run_downstream.py", cwd=package)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(package / "hub.py")


def test_a_missing_script_is_an_error_of_one_line():
    done = run_python("-m", "s3prl_gendistiller.host.compat", "nowhere.py")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nowhere.py: no such script" in done.stderr


def test_without_a_script_the_command_lists_what_it_supplies():
    done = run_python("-m", "s3prl_gendistiller.host.compat")
    assert done.returncode == 0
    assert "torch.load of s3prl's checkpoints" in done.stdout
