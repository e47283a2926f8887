"""docs/integrations.md: its code runs from top to bottom, and its YAML names what s3prl's interface takes."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import yaml

from tests.conftest import ROOT, run_python
from tests.host.test_checkpoint import save_student
from tests.host.test_launchers import succeed

DOCUMENT = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
CHECKS = """
assert features.shape == (2, 50, 24) and ends.tolist() == [50, 29] and len(states) == 3
assert embeddings.shape == (4, 99, 24) and milliseconds.shape == (4, 99) and scenes.shape == (4, 24)
assert MyStudentEncoder()(torch.randn(2, 50_000)).shape == (2, 156, 24)
import yaml
conf = yaml.safe_load(open("train.yaml"))["frontend_conf"]["frontend_conf"]
assert conf.pop("upstream") == "gendistiller_local"
assert S3PRLUpstream("gendistiller_local", **conf).num_layers == 3
print("done")
"""


def test_the_code_of_the_document_runs(tmp_path: Path) -> None:
    save_student(tmp_path / "result/pretrain/my_mini/states-600.ckpt")
    (configuration,) = re.findall(r"^    frontend: s3prl\n(?:    .*\n)+", DOCUMENT, flags=re.MULTILINE)
    (tmp_path / "train.yaml").write_text(textwrap.dedent(configuration))
    stated = yaml.safe_load(textwrap.dedent(configuration))
    assert stated["frontend"] == "s3prl" and stated["freeze_param"] == ["frontend.upstream"]
    assert len(BLOCKS) == 3
    answer = succeed(run_python("-c", "".join(BLOCKS) + CHECKS, cwd=tmp_path))
    assert answer.stdout.splitlines()[-1] == "done"
