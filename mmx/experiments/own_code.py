"""Code of the user's own in a plan: the plan says which class, the command that it may run."""

from __future__ import annotations

from collections.abc import Iterator

from mmx.errors import OptionError
from mmx.experiments.plan import Plan
from mmx.extract.encoders import own_encoder
from mmx.own.code import Code, allowed, reference


def check_code(plan: Plan, codes: tuple[Code, ...]) -> None:
    """Raise OptionError for code that the command did not name, or that the plan does not use.

    Nothing is run.
    """
    used = set()
    for where, text, encodes in _named(plan):
        try:
            used.add(_code_of(text, codes, encodes))
        except OptionError as error:
            raise OptionError(f"{where}: {error}") from error
    for code in codes:
        if code not in used:
            raise OptionError(f"--code {code.where}: the plan names nothing of it; drop it")


def _code_of(text: str, codes: tuple[Code, ...], encodes: bool) -> Code | None:
    """The code that a name in a plan is in; None for mmx's own and those of packages."""
    if encodes:
        own = own_encoder(text, codes)
        return own[0] if isinstance(own, tuple) else None
    named = reference(text)
    return None if named is None else allowed(named, codes)


def _named(plan: Plan) -> Iterator[tuple[str, str, bool]]:
    """Where in the plan, what is named there, and whether it is an encoder."""
    for name, recommender in plan.recommenders.items():
        yield f"recommenders.{name}", recommender.model, False
    for name, entry in plan.features.items():
        for made in entry.extract:
            yield f"features.{name}", made.model, True
