"""Models and encoders that installed packages offer under an entry point."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, distributions
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
        return replace(member, name=self.name, package=self.package), found


def offers(group: str) -> list[Offer]:
    """All offers of a group, by name, from the packages' metadata: nothing is imported."""
    found = {one for dist in _installed() for one in _offers(dist, group)}
    return sorted(found, key=lambda one: (one.name, one.package))


def offered(group: str, name: str) -> Offer | None:
    """The offer of a name. Raises OptionError where several packages offer it."""
    found = [one for one in offers(group) if one.name == name]
    if len(found) > 1:
        packages = " and ".join(one.package for one in found)
        raise OptionError(f"{name} is offered by {packages}; uninstall one")
    return found[0] if found else None


def _installed() -> Iterator[Distribution]:
    """All packages. What is in the working directory is a download as likely as an installation."""
    here = os.path.realpath("")
    places = [place for place in sys.path if place and os.path.realpath(place) != here]
    return iter(distributions(path=places))


def _offers(dist: Distribution, group: str) -> Iterator[Offer]:
    """Those whose name and value are of the form of one."""
    for point in dist.entry_points.select(group=group):
        value = point.value.strip()
        if ":" not in point.name and VALUE.fullmatch(value):
            module, _, attribute = value.partition(":")
            yield Offer(point.name, module, attribute, f"{dist.name} {dist.version}")
