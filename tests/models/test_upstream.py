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
    output = student.generate(padded, lengths, steps=2)
    assert found.keys() == {"hidden_states", "last_hidden_state"} and len(found["hidden_states"]) == 3
    for state, expected in zip(found["hidden_states"], output.hidden_states, strict=True):
        assert torch.equal(state[output.frame_mask], expected[output.frame_mask])
        for row, frames in zip(state, output.frame_mask.sum(1).tolist(), strict=True):
            assert torch.equal(row[frames:], row[frames - 1].expand(len(row) - frames, -1))
    assert not output.frame_mask.all()
    assert found["last_hidden_state"] is found["hidden_states"][-1]
