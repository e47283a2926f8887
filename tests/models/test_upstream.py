from __future__ import annotations

import torch

from s3prl_gendistiller.models.gendistiller import GenDistiller
from s3prl_gendistiller.models.upstream import upstream_output
from tests.conftest import tiny_config


def test_unpadded_utterances_become_hidden_states_of_one_batch(wavs: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    padded, lengths = wavs
    student = GenDistiller(tiny_config(), 3).eval()
    found = upstream_output(student, [wav[:length] for wav, length in zip(padded, lengths, strict=True)], 2)
    expected = student.generate(padded, lengths, steps=2).hidden_states
    assert found.keys() == {"hidden_states", "last_hidden_state"} and len(found["hidden_states"]) == 3
    assert all(torch.equal(*pair) for pair in zip(found["hidden_states"], expected, strict=True))
    assert found["last_hidden_state"] is found["hidden_states"][-1]
