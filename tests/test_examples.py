"""The examples run as their first lines say, on a corpus of seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from s3prl_gendistiller.export.transformers_folder import write_transformers
from tests.conftest import ROOT, run_python
from tests.export.test_hub_folder import CARD, MEL, save


def test_a_student_is_fine_tuned_with_the_trainer(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "tuned"
    lists: dict[str, list[str]] = {"validation": [], "testing": []}
    for frequency, word in enumerate(("no", "yes"), start=1):
        for number in range(6):
            name = f"{word}/{number}.wav"
            (corpus / word).mkdir(parents=True, exist_ok=True)
            tone = np.sin(np.arange(4800) * (frequency * (0.1 + 0.005 * number)), dtype="float32") / 4
            soundfile.write(corpus / name, tone, 16_000)
            lists["testing" if number > 3 else "validation"] += [name] * (number > 2)
    for split, names in lists.items():
        (corpus / f"{split}_list.txt").write_text("\n".join(names) + "\n")
    write_transformers(save(tmp_path / "x.ckpt", **MEL), tmp_path / "student", CARD)
    answer = run_python(
        *(ROOT / "examples/finetune_keywords.py", "--student", tmp_path / "student", "--corpus", corpus),
        *("--out", out, "--steps", "60", "--batch", "4", "--lr", "3e-3"),
        env={"HF_HOME": str(tmp_path / "cache")},
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "accuracy 1.0000 on 4 recordings" in answer.stdout  # two tones are told apart
    assert (out / "model.safetensors").is_file() and '"0": "no"' in (out / "config.json").read_text()
