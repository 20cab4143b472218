"""VLMo (Bao et al., NeurIPS 2022, arXiv 2111.02358), numerically the same as the official one."""

from mmx.extract.vlmo.checkpoint import load
from mmx.extract.vlmo.config import ARCHITECTURES, VLMoConfig
from mmx.extract.vlmo.model import IMAGE, SECOND_IMAGE, VLMo

__all__ = ["ARCHITECTURES", "IMAGE", "SECOND_IMAGE", "VLMo", "VLMoConfig", "load"]
