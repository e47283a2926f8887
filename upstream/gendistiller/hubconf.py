"""Hub entries for a git checkout of s3prl, under the module name that `s3prl/hub.py` imports."""

from s3prl_gendistiller.host.hubconf import gendistiller_local, gendistiller_url, transformers_local

__all__ = ["gendistiller_local", "gendistiller_url", "transformers_local"]
