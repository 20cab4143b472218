"""Models and encoders that installed packages offer under an entry point."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mmx.errors import MmxError, OptionError, RunError
from mmx.own.code import Code
from mmx.own.member import Member

MODELS, ENCODERS = "mmx.models", "mmx.encoders"  # groups of entry points
VALUE = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?")


@dataclass(frozen=True)
class Offer:
    """A name that an installed package gives to a class or module of its own."""

    name: str  # what --model takes
    module: str
    attribute: str  # a class of the module; "" is the module itself
    package: str  # "shopmodels 1.2"

    def code(self) -> Code:
        """Its module's, not imported."""
        return Code.named(self.module, f"the entry point {self.name} of {self.package}:")

    def member(self, kind: type[MmxError] = RunError) -> tuple[Member, Any]:
        """The class or the module, imported. Raises ``kind`` for an error in it."""
        code = self.code()
        if self.attribute:
            member, found = code.member(self.attribute, kind)
        else:
            member, found = code.whole(kind)
        return Member(self.name, code.sha256, member.file, self.package), found


def offers(group: str) -> list[Offer]:
    """All offers of a group, by name, from the packages' metadata: nothing is imported."""
    found = [_offer(point) for point in entry_points(group=group)]
    return sorted((one for one in found if one is not None), key=lambda one: one.name)


def offered(group: str, name: str) -> Offer | None:
    """The offer of a name. Raises OptionError where several packages offer it."""
    found = [one for one in offers(group) if one.name == name]
    if len(found) > 1:
        packages = " and ".join(one.package for one in found)
        raise OptionError(f"{name} is offered by {packages}; uninstall one")
    return found[0] if found else None


def _offer(point: EntryPoint) -> Offer | None:
    """None for one whose name or value is not of the form of one."""
    if ":" in point.name or not VALUE.fullmatch(point.value.strip()):
        return None
    module, _, attribute = point.value.strip().partition(":")
    package = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
    return Offer(point.name, module, attribute, package)
