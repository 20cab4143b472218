"""Fine-tuning an image-text encoder on the catalogue's own pairs."""

from mmx.extract.finetune.loop import finetune
from mmx.extract.finetune.options import FinetuneOptions, FinetuneProgress

__all__ = ["FinetuneOptions", "FinetuneProgress", "finetune"]
