"""For a git checkout of s3prl: the hub entries under the name that `s3prl/hub.py` imports them by."""

from s3prl_gendistiller.host.hubconf import gendistiller_local, gendistiller_url, transformers_local

__all__ = ["gendistiller_local", "gendistiller_url", "transformers_local"]
