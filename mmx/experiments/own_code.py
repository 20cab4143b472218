"""Code of the user's own in a plan: the plan says which class, the command that it may run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
            named = reference(text)
            if encodes:
                own_encoder(text, codes)
            elif named is not None:
                allowed(named, codes)
        except OptionError as error:
            raise OptionError(f"{where}: {error}") from error
        if named is not None:
            used.add(str(Path(named.source).resolve()) if named.is_file else named.source)
    for code in codes:
        if code.where not in used:
            raise OptionError(f"--code {code.where}: the plan names nothing of it; drop it")


def _named(plan: Plan) -> Iterator[tuple[str, str, bool]]:
    """Where in the plan, what is named there, and whether it is an encoder."""
    for name, recommender in plan.recommenders.items():
        yield f"recommenders.{name}", recommender.model, False
    for name, entry in plan.features.items():
        for made in entry.extract:
            yield f"features.{name}", made.model, True
