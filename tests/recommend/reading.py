"""The least model that ``--end-to-end`` takes."""

from tests.recommend.minimal import Config
from tests.recommend.minimal import Reading as Model

__all__ = ["Config", "Model"]
