"""Encoders by name. Nothing heavy is imported until one is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeGuard, Unpack

from mmx.devices import AUTO
from mmx.errors import EncoderError, OptionError, suggestion
from mmx.extract.encoder import Encoder
from mmx.extract.encoders.offered import listing
from mmx.extract.encoders.records import DEFAULT_CLIP, ENCODERS, MINI, EncoderRecord
from mmx.extract.encoders.request import OPTIONS, EncoderOptions, Request
from mmx.extract.lean import config_of, open_clip_for, torchvision
from mmx.files import as_path
from mmx.kinds import must_be, texts
from mmx.logs import log_line
from mmx.own.code import (
    Code,
    Codes,
    Reference,
    allowed,
    as_codes,
    named_by,
    reference,
    source_file,
)
from mmx.own.offers import ENCODERS as GROUP
from mmx.own.offers import Offer, offered
from mmx.packages import importing

__all__ = ["ENCODERS", "OPTIONS", "EncoderRecord", "listing", "open_encoder"]


def open_encoder(
    spec: str,
    *,
    weights: Path | str | None = None,
    device: str = AUTO,
    precision: str = "float32",
    decode: str = "exact",
    modalities: Sequence[str] | None = None,
    code: Codes = (),
    log: Callable[[str], None] = log_line,
    **options: Unpack[EncoderOptions],
) -> Encoder:
    """The encoder that ``spec`` names, ready to encode.

    ``clip``, ``clip:ARCH/TAG``, ``clip:mini``, ``clip:hf:REPO``, ``clip:local-dir:PATH``,
    ``timm:ARCH[.TAG]``, ``torchvision:ARCH[.TAG]``, ``sbert:NAME_OR_PATH``,
    ``vlmo[:VARIANT]``, ``toy``, the name of an installed package's, or ``mine.py:Encoder`` of the
    files and modules in ``code``, which may then be run; a ``weights`` file replaces what the name
    would fetch.
    ``precision`` is that of the passes: float32, bfloat16 or float16; vectors are float32.
    ``decode`` is "exact", "fast" or "gpu", see mmx.extract.pictures.decoding; the toy knows only
    the first. "gpu" means the encoder's ``device``; on a CPU the same code runs there, for tests.
    ``log`` gets a line on what may take long; by default the logger ``mmx``.

    Options, each of which may be None for "not given": ``image_size`` and ``resize`` (px),
    ``resize_mode`` (crop, squash, pad), ``interpolation``, ``mean`` and ``std`` (three numbers,
    of RGB in [0, 1]), ``tokenizer`` (directory), ``head`` (of VLMo). What they change is
    written in the card.

    Raises EncoderError for a name that is unknown, weights that cannot be had or do not fit;
    OptionError for options that are misspelt, unused by this encoder or contradictory.
    """
    request = check_request(
        spec, weights=weights, device=device, precision=precision, decode=decode,
        modalities=modalities, code=code, log=log, **options,
    )  # fmt: skip
    request.hash_weights(request.weights)
    with importing():
        encoder = _OPENERS.get(spec.partition(":")[0], _own)(request)
    if decode == "gpu":
        from mmx.extract.encoders.gpu_decode import must_decode

        must_decode(encoder)
    encoder.files = tuple(request.files)
    return encoder


def check_request(
    spec: str,
    *,
    weights: Path | str | None = None,
    device: str = AUTO,
    precision: str = "float32",
    decode: str = "exact",
    modalities: Sequence[str] | None = None,
    code: Codes = (),
    log: Callable[[str], None] = log_line,
    **options: Any,
) -> Request:
    """The arguments of ``open_encoder`` as one record, as far as they are checked without opening.

    Raises EncoderError for an unknown family or absent weights, OptionError for wrong options.
    """
    must_be("the encoder", spec, str)
    family, _, name = spec.partition(":")
    own = own_encoder(spec, as_codes(code))
    if family not in _OPENERS and own is None:
        raise EncoderError(f"no encoder '{spec}'{_hint(family, spec)}")
    return Request(
        spec,
        name,
        as_path(weights) if weights is not None else None,
        device,
        precision,
        None if modalities is None else tuple(texts("modalities", modalities)),
        log,
        {key: value for key, value in options.items() if value is not None},
        decode,
        own=own,
    )


def identity(spec: str, codes: tuple[Code, ...]) -> dict[str, Any] | None:
    """Name and SHA-256 of an encoder of the user's own; None for mmx's own. Runs nothing."""
    own = own_encoder(spec, codes)
    if own is None:
        return None
    if isinstance(own, Offer):
        return {"name": spec, "sha256": own.code().sha256, "package": own.package}
    return {"name": f"{own[0].name}:{own[1]}", "sha256": own[0].sha256}


def code_of(spec: str) -> tuple[Code, ...]:
    """The code that ``--model`` of this command names; none for an encoder by name."""
    family = spec.partition(":")[0]
    known = family in _OPENERS or (":" not in spec and not spec.endswith(".py"))
    if known or offered(GROUP, family) is not None or not _is_code(reference(spec)):
        return ()
    return named_by(spec)


def _is_code(named: Reference | None) -> TypeGuard[Reference]:
    """Whether it is not just a misspelt name, as ``tim:resnet50``."""
    if named is None:
        return False
    return named.is_file or "." in named.source or source_file(named.source) is not None


def refuse_own(spec: str) -> None:
    """Raise OptionError for an encoder of the user's own, which nothing trains. Runs nothing."""
    family = spec.partition(":")[0]
    if family not in _OPENERS and (offered(GROUP, family) or _is_code(_parts(spec))):
        raise OptionError(
            f"{spec} is an encoder of your own, which cannot be fine-tuned; clip… and vlmo… can"
        )


def _parts(spec: str) -> Reference | None:
    """The reference, also of a file without a class."""
    return reference(f"{spec}:Encoder" if spec.endswith(".py") else spec)


def own_encoder(spec: str, codes: tuple[Code, ...]) -> Offer | tuple[Code, str] | None:
    """What an installed package offers, or a class of ``codes``; None for mmx's own and unknown.

    Raises OptionError for code that the user did not name. Nothing is imported.
    """
    family = spec.partition(":")[0]
    if family in _OPENERS:
        return None
    offer = offered(GROUP, family)
    if offer is not None:
        return offer
    named = reference(spec)
    if not _is_code(named):
        return None
    return allowed(named, codes), named.member


def _hint(family: str, spec: str) -> str:
    if ":" not in spec:  # perhaps the family was forgotten: resnet50, all-MiniLM-L6-v2
        inner = [known for known in ENCODERS if known.rpartition(":")[2].partition(".")[0] == spec]
        if inner:
            return f"; did you mean '{inner[0]}'?"
    return suggestion(family, _OPENERS)


def _clip(request: Request) -> Encoder:
    if request.name == "hf" or request.name.startswith("hf:"):
        from mmx.extract.encoders.huggingface import open_huggingface

        return open_huggingface(request)
    mini = request.name == "mini"
    with open_clip_for(config_of(f"local-dir:{MINI}" if mini else request.name or DEFAULT_CLIP)):
        from mmx.extract.encoders.openclip import open_openclip

    return open_openclip(request)


def _timm(request: Request) -> Encoder:
    from mmx.extract.encoders.timm_nets import open_timm

    return open_timm(request)


def _torchvision(request: Request) -> Encoder:
    with torchvision():
        from mmx.extract.encoders.torchvision_nets import open_torchvision

    return open_torchvision(request)


def _sbert(request: Request) -> Encoder:
    from mmx.extract.encoders.sentence import open_sentence

    return open_sentence(request)


def _vlmo(request: Request) -> Encoder:
    request.only("head", "tokenizer", "image_size")
    from mmx.extract.encoders.vlmo import open_vlmo

    return open_vlmo(
        request.name,
        request.needs_file(),
        precision=request.precision,
        decode=request.decode,
        device=request.device,
        modalities=request.modalities,
        log=request.log,
        reads=request.reads,
        **request.options,
    )


def _own(request: Request) -> Encoder:
    from mmx.extract.encoders.own import open_own

    assert request.own is not None
    if isinstance(request.own, Offer):
        return open_own(request, *request.own.member(EncoderError))
    code, name = request.own
    return open_own(request, *code.member(name, EncoderError))


def _toy(request: Request) -> Encoder:
    from mmx.extract.encoders.toy import open_toy

    return open_toy(request)


_OPENERS: dict[str, Callable[[Request], Encoder]] = {
    "clip": _clip,
    "timm": _timm,
    "torchvision": _torchvision,
    "sbert": _sbert,
    "vlmo": _vlmo,
    "toy": _toy,
}
