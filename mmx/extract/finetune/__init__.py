"""Fine-tuning an image-text encoder on the catalogue's own pairs."""

from mmx.extract.finetune.api import FinetuneReport, finetune
from mmx.extract.finetune.loop import tune_encoder
from mmx.extract.finetune.options import FinetuneOptions, FinetuneProgress

__all__ = ["FinetuneOptions", "FinetuneProgress", "FinetuneReport", "finetune", "tune_encoder"]
