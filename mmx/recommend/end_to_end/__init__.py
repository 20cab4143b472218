"""Encoders trained end to end with the recommender: options, the wrapped model, the job."""

from mmx.recommend.end_to_end.job import EndToEndJob
from mmx.recommend.end_to_end.model import EndToEnd
from mmx.recommend.end_to_end.options import EndToEndOptions

__all__ = ["EndToEnd", "EndToEndJob", "EndToEndOptions"]
