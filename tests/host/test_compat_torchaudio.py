"""torchaudio as it comes: whole, without backends, with torchcodec, with a library that does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.host.test_compat import run_code

# A torchaudio whose every name works, in which nothing may change.
WHOLE_TORCHAUDIO = """
def load(uri): return "own"
def save(uri, src, sample_rate): return "own"
def info(uri): return "own"
def set_audio_backend(backend): return "own"
def get_audio_backend(): return "own"
def list_audio_backends(): return ["ffmpeg", "sox", "soundfile"]
from . import sox_effects
"""


def fake_torchaudio(folder: Path, code: str, extension: str = "") -> dict[str, str]:
    """A torchaudio of our making that comes first; returns the environment that finds it."""
    package = folder / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import _extension\n" + code)
    (package / "_extension" / "__init__.py").write_text(extension)
    (package / "sox_effects.py").write_text("def apply_effects_file(path, effects): return 'own'\n")
    return {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}"}


@pytest.fixture
def wave(tmp_path: Path) -> Path:
    """1000 stereo samples at 8 kHz."""
    path = tmp_path / "wave.wav"
    samples = 0.5 * np.sin(np.arange(2000).reshape(1000, 2) / 9)
    soundfile.write(path, samples, 8000, subtype="PCM_16")
    return path


def test_the_installed_torchaudio_reads_writes_and_changes_audio_and_keeps_what_it_has(tmp_path, wave):
    """Whatever stack this is: the fakes below are what its neighbours look like."""
    out = run_code(f"""
        import sys, torch
        own = {{}}
        try:
            import torchaudio
            own = dict(vars(torchaudio))
        except OSError:  # a compiled library that does not fit
            for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
                del sys.modules[name]
        from s3prl_gendistiller.host import compat
        supplied = " ".join(compat.apply())
        import torchaudio
        from torchaudio import sox_effects
        names = ("load", "save", "info", "set_audio_backend", "list_audio_backends", "sox_effects")
        now = vars(torchaudio)
        print([name for name in names if name in own and name not in supplied and now[name] is not own[name]])
        torchaudio.set_audio_backend("sox_io")
        samples, rate_hz = torchaudio.load({str(wave)!r})
        found = torchaudio.info({str(wave)!r})
        print(tuple(samples.shape), rate_hz, found.num_frames, found.num_channels, found.sample_rate)
        torchaudio.save("{tmp_path}/copy.wav", samples, rate_hz)
        print(torch.equal(torchaudio.load("{tmp_path}/copy.wav")[0], samples))
        changed, changed_hz = sox_effects.apply_effects_file({str(wave)!r}, [["channels", "1"], ["rate", "16000"]])
        print(tuple(changed.shape), changed_hz)
        """)
    assert out.splitlines()[-4:] == ["[]", "(2, 1000) 8000 1000 2 8000", "True", "(1, 2000) 16000"]


def test_a_torchaudio_that_works_is_left_alone(tmp_path):
    env = fake_torchaudio(tmp_path, WHOLE_TORCHAUDIO)
    out = run_code(
        """
        from s3prl_gendistiller.host import compat
        supplied = compat.apply()
        import torchaudio
        from torchaudio.sox_effects import apply_effects_file
        own = [torchaudio.load(0), torchaudio.info(0), torchaudio.set_audio_backend(0)]
        own.append(apply_effects_file(0, 0))
        print(own, any("torchaudio" in line for line in supplied))
        """,
        env=env,
    )
    assert out == "['own', 'own', 'own', 'own'] False"


def test_a_torchaudio_without_the_library_of_sox_gets_effects_alone(tmp_path, wave):
    code = WHOLE_TORCHAUDIO.replace('["ffmpeg", "sox", "soundfile"]', '["soundfile"]')
    code += "load_with_torchcodec = load\n"  # which torchaudio 2.8 has beside its backends
    out = run_code(
        f"""
        from s3prl_gendistiller.host import compat
        compat.apply()
        import torchaudio
        from torchaudio.sox_effects import apply_effects_file
        print(torchaudio.load(0), torchaudio.info(0))
        mixed, _ = apply_effects_file({str(wave)!r}, [["channels", "1"]])
        print(torchaudio.set_audio_backend("sox_io"), mixed.shape)
        """,
        env=fake_torchaudio(tmp_path, code),
    )
    assert out.splitlines() == ["own own", "own torch.Size([1, 1000])"]


def test_a_torchcodec_that_works_keeps_its_load(tmp_path):
    codec = tmp_path / "torchcodec" / "decoders"
    codec.mkdir(parents=True)
    (codec.parent / "__init__.py").touch()
    (codec / "__init__.py").touch()
    code = "def load(uri): return 'own'\nsave = load_with_torchcodec = load\n"
    out = run_code(
        """
        from s3prl_gendistiller.host import compat
        supplied = compat.apply()
        import torchaudio
        print(torchaudio.load(0), "torchaudio.info (soundfile)" in supplied)
        """,
        env=fake_torchaudio(tmp_path, code),
    )
    assert out == "own True"


def test_a_compiled_library_that_does_not_fit_is_left_out(tmp_path):
    env = fake_torchaudio(
        tmp_path,
        "from ._extension import _IS_TORCHAUDIO_EXT_AVAILABLE, fail_if_no_align\nload = load_with_torchcodec = 1",
        extension="raise OSError('libc10_cuda.so: cannot open shared object file')\n",
    )
    out = run_code(
        """
        from s3prl_gendistiller.host import compat
        print("torchaudio without its compiled library" in compat.apply())
        import torchaudio
        print(torchaudio._IS_TORCHAUDIO_EXT_AVAILABLE)
        try:
            torchaudio.fail_if_no_align(print)()
        except RuntimeError as refused:
            print(refused)
        """,
        env=env,
    )
    lines = out.splitlines()
    assert lines[:2] == ["True", "False"]
    assert "compiled library" in lines[2]


def test_a_torchaudio_broken_elsewhere_fails_as_before_and_leaves_nothing_behind(tmp_path):
    env = fake_torchaudio(tmp_path, "raise OSError('broken for good')\n")
    out = run_code(
        """
        import sys
        from s3prl_gendistiller.host import compat
        try:
            compat.apply()
        except OSError as error:
            print(error, [name for name in sys.modules if name.startswith("torchaudio")])
        """,
        env=env,
    )
    assert out == "broken for good []"
