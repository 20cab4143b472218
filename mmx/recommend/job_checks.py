"""Which options of a job go together, and with its model."""

from __future__ import annotations

from mmx.errors import OptionError
from mmx.recommend.job import TrainJob
from mmx.recommend.models import end_to_end_models
from mmx.recommend.records import ModelRecord


def check_options(job: TrainJob, record: ModelRecord) -> None:
    """Raise OptionError for options that contradict each other or the model."""
    if job.images is not None and job.end_to_end is None:
        raise OptionError("--images needs --end-to-end: ready features need no pictures")
    if job.split.rule == "users" and not record.new_users:
        raise OptionError(f"{record.name} cannot score users it was not trained with, as --split "
                          "users holds out; choose another --split or --model")  # fmt: skip
    if record.features == "none" and job.features:
        raise OptionError(f"{record.name} uses no features; drop --features, or --model vbpr")
    if job.control is not None and record.features == "none":
        raise OptionError(f"{record.name} uses no features; drop --control, or --model vbpr")
    if job.end_to_end is not None:
        _check_end_to_end(job, record)
    elif record.features == "required" and not job.features:
        raise OptionError(f"{record.name} needs item features: give --features, or --model bpr")


def _check_end_to_end(job: TrainJob, record: ModelRecord) -> None:
    if job.features:
        raise OptionError("--end-to-end makes its own features; drop --features")
    if job.control is not None:
        raise OptionError("--control is for features that are ready; drop --end-to-end, or it")
    if not record.end_to_end:
        raise OptionError(f"{record.name} cannot train an encoder; --end-to-end takes "
                          f"{end_to_end_models()}")  # fmt: skip
