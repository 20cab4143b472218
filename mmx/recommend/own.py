"""Records of models of the user's own: of a class, a named file, an installed package.

A class holds what the module of one of mmx's own models holds: a ``GradientModel`` or a
``ClosedModel`` with a Config, which is an attribute of the class or else in its module.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, is_dataclass
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from mmx.errors import MmxError, RunError
from mmx.own.code import class_member
from mmx.own.member import Member
from mmx.own.offers import Offer
from mmx.recommend.defaults import outline_of
from mmx.recommend.facts import Facts
from mmx.recommend.records import ModelRecord

if TYPE_CHECKING:
    from mmx.recommend.protocol import ClosedForm, GradientForm

EXPECTED = "a GradientModel or ClosedModel of mmx.recommend.protocol is expected"


@dataclass(frozen=True, kw_only=True)
class OwnModel(ModelRecord):
    """A model whose code was run."""

    member: Member
    form: Any  # with a Config, and Model or fit

    def load(self) -> ClosedForm | GradientForm:
        """The class in the form of a module."""
        form: ClosedForm | GradientForm = self.form
        return form

    def defaults(self) -> dict[str, Any]:
        """The settings of its Config and their defaults."""
        return {field.name: field.default for field in fields(self.form.Config)}

    def blamed(self) -> AbstractContextManager[None]:
        """See ``Member``."""
        return self.member.blamed()

    @property
    def code(self) -> dict[str, Any]:
        """Name and SHA-256."""
        return self.member.record()


@dataclass(frozen=True)
class OfferedModel(ModelRecord):
    """A model that an installed package offers, not imported: only to be listed."""

    settings: tuple[tuple[str, Any], ...] = ()

    def defaults(self) -> dict[str, Any]:
        """As its source says."""
        return dict(self.settings)


def record_of(kind: type) -> OwnModel:
    """Of a class in a program. Raises RunError for one that is not a model."""
    return written_record(class_member(kind), kind)


def written_record(member: Member, found: Any) -> OwnModel:
    """Of a class, or of a module that is written like those of mmx's models.

    Raises RunError for anything else.
    """
    from mmx.recommend.protocol import ClosedForm, ClosedModel, GradientForm, GradientModel

    form: Any = found
    if isinstance(found, type) and issubclass(found, GradientModel):
        form = SimpleNamespace(Config=_config_of(found, member), Model=found)
    elif isinstance(found, type) and issubclass(found, ClosedModel):
        with member.blamed(hook=found.__name__):
            form = SimpleNamespace(Config=_config_of(found, member), fit=found().fit)
    elif not isinstance(found, ModuleType) or not isinstance(found, ClosedForm | GradientForm):
        kind = found.__name__ if isinstance(found, type) else f"a {type(found).__name__}"
        raise RunError(f"{member.name}: {kind} is not a model; {EXPECTED}")
    facts = vars(found).get("facts", Facts()) if form is found else found.facts
    if not isinstance(facts, Facts):
        raise RunError(f"{member.name}: facts is a {type(facts).__name__}; Facts(…) is expected")
    if facts.end_to_end and isinstance(form, ClosedForm):
        raise RunError(f"{member.name}: facts say end_to_end, and it is not trained in steps")
    title = (inspect.getdoc(found) or member.name).partition("\n")[0]
    return OwnModel(
        member.name, title, member.name, **asdict(facts), closed_form=isinstance(form, ClosedForm),
        member=member, form=form,
    )  # fmt: skip


def _config_of(kind: type, member: Member) -> type:
    """The settings. Raises RunError where there is no dataclass of them."""
    module = sys.modules.get(kind.__module__)
    found = getattr(kind, "Config", None) or vars(module or kind).get("Config")
    if not (isinstance(found, type) and is_dataclass(found)):
        raise RunError(
            f"{member.name} has no Config; a frozen dataclass of its settings is expected, in the "
            "class or beside it"
        )
    return found


def offered_record(offer: Offer) -> ModelRecord:
    """Of an offer, as far as its source says without being imported."""
    try:
        outline = outline_of(offer.module, offer.attribute)
        facts, title = asdict(Facts(**outline.facts)), outline.title
        closed, settings = outline.closed_form, tuple(outline.settings.items())
    except (MmxError, TypeError) as error:
        facts, title, closed, settings = asdict(Facts()), f"cannot be read: {error}", False, ()
    facts["citation"] = facts["citation"] or "none"
    return OfferedModel(
        offer.name, f"{title} ({offer.package})", offer.module, **facts, closed_form=closed,
        settings=settings,
    )  # fmt: skip
