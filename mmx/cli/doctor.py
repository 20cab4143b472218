"""``mmx doctor``: what is installed, what works, and the command that fixes what does not.

Versions come from the metadata of the packages, so that a package that is broken is a row.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import typer

from mmx.cli.output import AsJson, Debug, Quiet, complain, note, print_json, print_table

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

DEVELOPERS = "dev"  # the extra that users do not miss
NO_METADATA = "unknown: it is not installed, this is a folder of its source"


@dataclass(frozen=True)
class Check:
    """A row of the table."""

    check: str
    found: str
    to_do: str = ""
    ok: bool = True  # False: something needed is broken or too old


def doctor(as_json: AsJson = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Check versions, devices, extras, the model hub and the caches.

    Leaves with exit code 1 if a needed package is missing, broken or too old. No
    network, no GPU and a missing extra are shown and leave it at 0.
    """
    note("Importing every package and contacting the model hub; this takes some seconds.")
    checks = list(_checks())
    failed = [one.check for one in checks if not one.ok]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(one) for one in checks]})
    else:
        rows = [(one.check, one.found, one.to_do) for one in checks]
        print_table(("check", "found", "to do"), rows)
    if failed:
        complain(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _checks() -> Iterator[Check]:
    from mmx.cli.doctor_places import caches, hub
    from mmx.cli.doctor_probe import devices, try_imports

    yield from _mmx()
    needed = [wanted for wanted in _requirements("mmx") if _applies(wanted)]
    here = [wanted.name for wanted in needed if _version(wanted.name)]
    tried = try_imports(["torch", "torchvision", *map(_module, here)])
    for wanted in needed:
        yield _package(wanted, tried)
    yield _torch_pair(tried)
    if tried["torch"]:
        yield Check("devices", "unknown: torch cannot be imported", "see torch", ok=False)
    else:
        yield from (Check(*row, ok=row[0] != "devices") for row in devices())
    yield from map(_extra, _extras())
    yield from (Check(*row) for row in (hub(), *caches()))


def _mmx() -> Iterator[Check]:
    from packaging.specifiers import SpecifierSet

    from mmx import __version__

    try:
        wanted = metadata.metadata("mmx")["Requires-Python"]
        yield Check("mmx", __version__)
    except metadata.PackageNotFoundError:
        wanted = ""
        yield Check("mmx", f"{__version__}; what it needs is {NO_METADATA}", "pip install -e .")
    version = platform.python_version()
    fits = _fits(SpecifierSet(wanted), version)
    to_do = "" if fits else f"a Python {wanted} is needed"
    yield Check("python", f"{version}{_needs(wanted)}; {sys.executable}", to_do, fits)


@cache
def _requirements(package: str) -> list[Requirement]:
    """What the metadata of a package require; empty for one that is not installed."""
    from packaging.requirements import Requirement

    try:
        return [Requirement(line) for line in metadata.requires(package) or ()]
    except metadata.PackageNotFoundError:
        return []


def _applies(wanted: Requirement, extra: str = "") -> bool:
    """Whether it is needed on this machine; with ``extra``, whether only that extra needs it."""
    if wanted.marker is None:
        return not extra
    here = wanted.marker.evaluate({"extra": ""})
    return not here and wanted.marker.evaluate({"extra": extra}) if extra else here


def _version(package: str) -> str:
    """The version that is installed; "" for none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _module(package: str) -> str:
    """What is imported of a package."""
    from mmx.packages import PIP

    return {pip: module for module, pip in PIP.items()}.get(package, package.replace("-", "_"))


def _fits(specifier: SpecifierSet, version: str) -> bool:
    """Whether a version will do; "" (not installed) never does, 2.13.0+cpu does for ==2.13.0."""
    return bool(version) and specifier.contains(version, prereleases=True)


def _needs(specifier: object) -> str:
    return f" (needs {specifier})" if str(specifier) else ""


def _fix(name: str, specifier: object) -> str:
    from mmx.cli.doctor_probe import PAIR, PAIR_FOR_CPU

    if name not in ("torch", "torchvision"):
        return f"pip install --upgrade '{name}{specifier}'"
    return PAIR_FOR_CPU if _torch_version().endswith("+cpu") else PAIR


def _torch_version() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def _package(wanted: Requirement, tried: dict[str, str]) -> Check:
    """A needed package: its version, and whether it can be imported."""
    name, version = wanted.name, _version(wanted.name)
    fix = _fix(name, wanted.specifier)
    if not version:
        return Check(name, f"not installed{_needs(wanted.specifier)}", fix, ok=False)
    if not _fits(wanted.specifier, version):
        return Check(name, f"{version} does not fit{_needs(wanted.specifier)}", fix, ok=False)
    module = _module(name)
    trouble = tried.get(module, "")  # "torch cannot be imported (…)"
    if not trouble:
        return Check(name, f"{version}{_needs(wanted.specifier)}")
    fault = trouble.partition(" ")[0]
    if fault != module:
        return Check(name, f"{version}; its import fails in {fault}", f"see {fault}", ok=False)
    return Check(name, f"{version}; {trouble}", fix, ok=False)


def _torch_pair(tried: dict[str, str]) -> Check:
    """torchvision is compiled for the torch that its metadata name."""
    title, fix = "torch and torchvision", _fix("torch", "")
    wants = next((one for one in _requirements("torchvision") if one.name == "torch"), None)
    version = _version(wants.name) if wants else ""
    if wants is None or not version:
        return Check(title, "one of them is not installed", fix, ok=False)
    vision = metadata.version("torchvision")
    found = f"torchvision {vision} is for torch {wants.specifier}, and torch is {version}"
    if not _fits(wants.specifier, version):
        return Check(title, found, fix, ok=False)
    if tried["torch"] or tried["torchvision"]:
        return Check(title, f"{found}; the import fails", fix, ok=False)
    return Check(title, found)


def _extras() -> list[str]:
    try:
        named = metadata.metadata("mmx").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return []
    return [extra for extra in named if extra != DEVELOPERS]


def _extra(extra: str) -> Check:
    """An extra is optional: one that is missing is not a failure."""
    met = [(wanted, _version(wanted.name)) for wanted in _of_extra("mmx", extra)]
    found = ", ".join(f"{wanted.name} {version or 'is missing'}" for wanted, version in met)
    fits = all(_fits(wanted.specifier, version) for wanted, version in met)
    return Check(f"extra {extra}", found, "" if fits else _fix_extra(extra))


def _fix_extra(extra: str) -> str:
    """By the packages: ``mmx[s3]`` may be on no index."""
    wanted = [one for one in _requirements("mmx") if _applies(one, extra)]
    inner = [f"[{','.join(sorted(one.extras))}]" if one.extras else "" for one in wanted]
    lines = [f"'{one.name}{more}{one.specifier}'" for one, more in zip(wanted, inner, strict=True)]
    return f"pip install {' '.join(lines)}"


def _of_extra(package: str, extra: str) -> Iterator[Requirement]:
    """What an extra of a package needs, and what the extras in there need (``fsspec[http]``)."""
    for wanted in _requirements(package):
        if _applies(wanted, extra):
            yield wanted
            for inner in wanted.extras:
                yield from _of_extra(wanted.name, inner)
