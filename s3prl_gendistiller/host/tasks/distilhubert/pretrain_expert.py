"""Pretrain task `distilhubert`: python run_pretrain.py -u distilhubert"""

from __future__ import annotations

from typing import Any

from s3prl_gendistiller.config import DistilHubertModelConfig
from s3prl_gendistiller.host.baseline import host_config
from s3prl_gendistiller.host.pretrain_expert import PretrainExpert


class UpstreamPretrainExpert(PretrainExpert):
    task_name = "distilhubert"

    def add_state_to_save(self, all_states: dict[str, Any]) -> dict[str, Any]:
        """Lets the file load with s3prl's `distiller_local` as well, which reads the shape from `Config`."""
        all_states = super().add_state_to_save(all_states)
        assert isinstance(self.config, DistilHubertModelConfig)
        all_states["Config"] = {**all_states["Config"], **host_config(self.config)}
        return all_states
