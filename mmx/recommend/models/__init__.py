"""The recommenders by name: of ``table.py``, of installed packages, of the user's own code."""

from __future__ import annotations

from mmx.errors import OptionError, suggestion
from mmx.own.code import Codes, allowed, as_codes, reference
from mmx.own.offers import MODELS as GROUP
from mmx.own.offers import offered, offers
from mmx.recommend.models.table import MODELS
from mmx.recommend.own import offered_record, record_of, written_record
from mmx.recommend.records import ModelRecord

__all__ = ["MODELS", "ModelRecord", "end_to_end_models", "find_model", "listing"]


def find_model(name: str | type, code: Codes = ()) -> ModelRecord:
    """The record of a model: of mmx, of an installed package, or of ``code`` that the user named.

    A class is its own name. Raises OptionError with a suggestion when there is none, and for
    ``mine.py:Model`` where ``code`` does not hold the file; RunError for what is not a model.
    """
    if isinstance(name, type):
        return record_of(name)
    if name in MODELS:
        return MODELS[name]
    named = reference(name)
    if named is not None:
        return written_record(*allowed(named, as_codes(code)).member(named.member))
    offer = offered(GROUP, name)
    if offer is None:
        known = [*MODELS, *(one.name for one in offers(GROUP))]
        raise OptionError(f"unknown --model '{name}'{suggestion(name, known)}")
    return written_record(*offer.member())


def listing() -> list[ModelRecord]:
    """All that ``mmx models`` shows: mmx's own, then those of installed packages, not imported."""
    theirs = [one for one in offers(GROUP) if one.name not in MODELS]
    return [*MODELS.values(), *map(offered_record, theirs)]


def end_to_end_models() -> str:
    """The models that ``--end-to-end`` takes, as a message lists them."""
    *others, last = (record.name for record in MODELS.values() if record.end_to_end)
    return f"{', '.join(others)} or {last}"
