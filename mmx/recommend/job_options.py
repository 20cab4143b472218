"""A job from the options of ``mmx train``, as one flat mapping: those typed, those of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmx.data.csvs.format import CsvFormat
from mmx.data.splits import SplitRule
from mmx.errors import OptionError
from mmx.own.code import Code
from mmx.recommend.expected import Expected
from mmx.recommend.job import TrainJob
from mmx.recommend.models import find_model
from mmx.recommend.options import TrainOptions

if TYPE_CHECKING:
    from mmx.recommend.end_to_end import EndToEndJob

Options = Mapping[str, Any]  # --min-rating is min_rating, --set is settings; None: not given
TRAINING = (
    "epochs", "batch_size", "lr", "lr_decay", "clip", "mirror_gradient", "mirror_every", "patience",
    "eval_every", "negatives", "precision", "device",
)  # fmt: skip
SPLIT = ("min_rating", "k_core", "at", "targets", "folds", "fold")  # and ``split``, the rule
ENCODER = ("encoder", "weights", "tokenizer")
JOINT = ("refresh", "encoder_lr", "tune", "chunk")


def job_of(options: Options, code: tuple[Code, ...], expected: Expected | None = None) -> TrainJob:
    """The job. ``code`` is what its model may run: no option is a permission by itself.

    Raises OptionError for options that contradict each other.
    """
    model, seed = _or(options.get("model"), "vbpr"), _or(options.get("seed"), 0)
    training = _given(options, TRAINING)
    if find_model(model, code).closed_form:
        _refuse(model, training)
    if "mirror_every" in training and not training.get("mirror_gradient"):
        raise OptionError("--mirror-every needs --mirror-gradient, e.g. --mirror-gradient 0.1")
    split = _given(options, SPLIT) | {"rule": _or(options.get("split"), "auto")}
    return TrainJob(
        data=options["data"],
        images=options.get("images"),
        model=model,
        code=code,
        features=options.get("features") or [],
        control=options.get("control"),
        end_to_end=_end_to_end(options),
        settings=options.get("settings") or [],
        split=SplitRule(seed=_or(options.get("split_seed"), seed), **split),
        unknown_items=_or(options.get("unknown_items"), "error"),
        ignore_weights=bool(options.get("ignore_weights")),
        csv=CsvFormat(options.get("encoding"), options.get("delimiter")),
        training=TrainOptions(**training, seed=seed, keep_lists=_or(options.get("keep_lists"), 0)),
        expected=expected,
    )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _given(options: Options, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: options[name] for name in names if options.get(name) is not None}


def _refuse(model: str, given: dict[str, Any]) -> None:
    """Raises OptionError when an option of the training loop was given to a closed form."""
    if given:
        option = next(iter(given)).replace("_", "-")
        raise OptionError(f"{model} has a closed form and no epochs; drop --{option}")


def _end_to_end(options: Options) -> EndToEndJob | None:
    """The job of --end-to-end and its options. Raises OptionError for contradictions."""
    how, private = _given(options, JOINT), bool(options.get("allow_private"))
    if not options.get("end_to_end"):
        named = [*_given(options, (*ENCODER, *JOINT)), *(["allow_private"] if private else [])]
        if named:
            raise OptionError(f"--{named[0].replace('_', '-')} needs --end-to-end")
        return None
    from mmx.extract.sources.web import Web
    from mmx.recommend.end_to_end import EndToEndJob, EndToEndOptions

    encoder = _given(options, ENCODER)
    if "encoder" not in encoder:
        raise OptionError("--end-to-end needs --encoder, e.g. --encoder clip")
    if how.get("refresh") == "epoch" and {"encoder_lr", "tune"} & how.keys():
        raise OptionError("--refresh epoch leaves the encoder as it is; drop --encoder-lr, --tune")
    web = Web(allow_private=private)
    return EndToEndJob(**encoder, web=web, options=EndToEndOptions(**how))
