"""Fine-tuning an image-text encoder on the catalogue's own pairs."""

from mmx.extract.finetune.loop import FinetuneOptions, FinetuneProgress, finetune

__all__ = ["FinetuneOptions", "FinetuneProgress", "finetune"]
