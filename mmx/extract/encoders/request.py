"""One call of ``open_encoder``, checked before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, get_args

from mmx.atomic import file_sha256
from mmx.bounds import check, number, whole
from mmx.devices import AUTO
from mmx.errors import EncoderError, OptionError, first_few, one_of, suggestion
from mmx.extract.later import Later
from mmx.extract.pictures.images import INTERPOLATION, Decode, ImageRule
from mmx.own.code import Code
from mmx.own.offers import Offer

MODALITIES = ("image", "text", "fused")  # in store order
DECODES = get_args(Decode)
RESIZE_MODES = ("crop", "squash", "pad")
MOST_PIXELS = 16_384  # along a side of what an encoder sees

# Options that change how a picture becomes pixels; all image encoders take them.
PICTURE_OPTIONS = ("image_size", "resize", "resize_mode", "interpolation", "mean", "std")
OPTIONS = (*PICTURE_OPTIONS, "tokenizer", "head")


class EncoderOptions(TypedDict, total=False):
    """What ``OPTIONS`` are, for a type checker; None is "not given"."""

    image_size: int | None  # px
    resize: int | None  # px
    resize_mode: str | None  # crop, squash, pad
    interpolation: str | None
    mean: Sequence[float] | None  # of R, G, B in [0, 1]
    std: Sequence[float] | None
    tokenizer: Path | str | None
    head: str | None


@dataclass(frozen=True)
class Request:
    """The arguments of one call of ``open_encoder``."""

    spec: str  # as given, e.g. "timm:resnet50"
    name: str  # what follows the family, "resnet50"; "" when nothing does
    weights: Path | None = None
    device: str = AUTO
    precision: str = "float32"
    modalities: tuple[str, ...] | None = None  # None: the encoder's default
    log: Callable[[str], None] = lambda line: None  # gets a line on what takes long
    options: Mapping[str, Any] = field(default_factory=dict)
    decode: Any = "exact"  # a Decode, see mmx.extract.pictures.decoding
    own: Offer | tuple[Code, str] | None = None  # of an encoder of the user's own
    files: list[Path] = field(default_factory=list)  # what was read, see ``reads``
    digests: dict[Path, Later[str]] = field(default_factory=dict)  # see ``hash_weights``

    def __post_init__(self) -> None:
        if self.weights is not None and not self.weights.exists():
            raise EncoderError(f"--weights {self.weights} does not exist")
        one_of("decode", self.decode, DECODES)
        for name in ("image_size", "resize"):  # before a model of that size is built
            if self.options.get(name) is not None:
                _pixels(name, self.options[name])

    def hash_weights(self, file: Path | None) -> None:
        """Begin with the SHA-256 of a file, which runs while packages and numbers are loaded."""
        if file is not None and file.is_file() and file not in self.digests:
            self.digests[file] = Later(partial(file_sha256, file))

    def weights_sha256(self, file: Path | None) -> str | None:
        """SHA-256 of a weights file, in hex; None where there is no one file."""
        if file is None:
            return None
        begun = self.digests.get(file)
        return begun.result() if begun else file_sha256(file)

    def reads(self, *paths: Path | str) -> None:
        """Note files or folders that decide what is opened, also those that are not there.

        An opener that cannot name all of them names none.
        """
        self.files.extend(Path(path).absolute() for path in paths)

    def only(self, *allowed: str) -> None:
        """Refuse options that the encoder would not use. Raises OptionError."""
        for name in self.options:
            if name not in OPTIONS:
                raise OptionError(f"no option {_flag(name)}{suggestion(name, OPTIONS)}")
            if name not in allowed:
                raise OptionError(f"{_flag(name)} is not used by {self.spec}; drop it")

    def wanted(self, given: tuple[str, ...], extra: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The modalities to encode, in store order. Raises OptionError for others.

        ``given`` by default, ``extra`` only when they are named.
        """
        if self.modalities is None:
            return given
        known = (*given, *extra)
        for modality in self.modalities:
            if modality not in known:
                raise OptionError(
                    f"--modalities {modality}: {self.spec} encodes {', '.join(known)} only"
                )
        if not self.modalities:
            raise OptionError(f"--modalities is empty; {self.spec} encodes {', '.join(given)}")
        unused = [name for name in self.options if name in PICTURE_OPTIONS]
        if unused and not {"image", "fused"} & {*self.modalities}:
            raise OptionError(f"{_flag(unused[0])} is of pictures; drop it, or --modalities")
        return tuple(m for m in MODALITIES if m in self.modalities)

    def needs_file(self) -> Path | None:
        """``weights``: a file, or the run directory of `mmx finetune` with one in it."""
        if self.weights is not None and (self.weights / "model.safetensors").is_file():
            return self.weights / "model.safetensors"
        if self.weights is not None and not self.weights.is_file():
            raise EncoderError(f"--weights {self.weights} must be a file for {self.spec}")
        return self.weights

    def rule(self, own: ImageRule) -> ImageRule:
        """The encoder's own image rule, changed by the picture options.

        A new ``image_size`` without ``resize`` keeps the fraction that the centre crop leaves.
        Raises OptionError for values that make no rule.
        """
        options = {k: v for k, v in self.options.items() if k in PICTURE_OPTIONS}
        size = _pixels("image_size", options.get("image_size", own.size))
        mode = options.get("resize_mode", own.mode)
        other = mode != own.mode  # the crop fraction of another mode means nothing
        resize = _pixels(
            "resize", options.get("resize", size if other else own.resize * size // own.size)
        )
        interpolation = options.get("interpolation", own.interpolation)
        one_of("--resize-mode", mode, RESIZE_MODES)
        one_of("--interpolation", interpolation, INTERPOLATION)
        mean = _triple("mean", options.get("mean", own.mean))
        std = _triple("std", options.get("std", own.std))
        if min(std) <= 0:
            raise OptionError(f"--std {std} must be above 0")
        rule = replace(own, size=size, resize=resize, mode=mode, interpolation=interpolation)
        return replace(rule, mean=mean, std=std, decode=self.decode)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _pixels(name: str, value: Any) -> int:
    check(f"{_flag(name)} ", value, whole(1, MOST_PIXELS))
    return int(value)


def _triple(name: str, value: Any) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(v) for v in value)
    except (TypeError, ValueError):
        raise OptionError(f"{_flag(name)} {value} must be three numbers, for R, G and B") from None
    for one in (red, green, blue):
        check(f"{_flag(name)} ", one, number(-math.inf))
    return red, green, blue


def near(word: str, known: Iterable[str], where: str) -> str:
    """``suggestion``, but of a long list only its beginning and ``where`` to read the rest."""
    names = list(known)
    hint = suggestion(word, names)
    return (
        hint
        if "did you mean" in hint or len(names) <= 12
        else f"; known: {first_few(names, 5)} ({where})"
    )
