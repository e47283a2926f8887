"""The stand-ins that need no host and no process of their own."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import WeightedRandomSampler

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host.shims import hub_access, interpreter, samplers


def test_the_old_arguments_become_the_new_ones():
    def snapshot_download(repo_id, *, revision=None, token=None, local_dir=None):
        return repo_id, revision, token, local_dir

    widened = hub_access.accept_old_arguments(snapshot_download)
    assert widened("a/b", "v1", use_auth_token=True) == ("a/b", "v1", None, None)
    assert widened("a/b", use_auth_token="secret") == ("a/b", None, "secret", None)
    assert widened("a/b", token="new", local_dir="x") == ("a/b", None, "new", "x")
    with pytest.raises(TypeError):
        widened("a/b", unheard_of=1)


def test_what_the_hub_no_longer_does_says_what_to_run_instead(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "mine")
    assert (hub_access.HfFolder.get_token(), hub_access.HfFolder.save_token("mine")) == ("mine", None)
    with pytest.raises(UserError, match="hf auth login"):
        hub_access.HfFolder.save_token("other")
    with pytest.raises(UserError, match="hf upload"):
        hub_access.Repository(local_dir="x")


def test_processes_share_out_what_a_sampler_draws():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    parts = []
    for rank in range(3):
        torch.rand(rank)  # processes drift apart between epochs
        wrapper = samplers.DistributedSamplerWrapper(WeightedRandomSampler([1.0] * 10, 10), 3, rank)
        wrapper.set_epoch(2)
        state = torch.get_rng_state()
        parts.append(list(wrapper))
        assert len(parts[-1]) == len(wrapper) == 4
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.initial_seed() == 3
    torch.set_rng_state(before)
    torch.default_generator.manual_seed(3 + 2)
    drawn = list(WeightedRandomSampler([1.0] * 10, 10))
    assert [parts[i % 3][i // 3] for i in range(12)] == drawn + drawn[:2]


def test_words_that_are_no_flags_are_refused():
    with pytest.raises(ValueError, match="found 'perhaps'"):
        interpreter.strtobool("perhaps")
