"""Write the locks in requirements/ from an environment in which the tests passed.

    python scripts/lock.py test    # in the environment of `make test`
    python scripts/lock.py cpu     # in one with torch's CPU build (docs/install.md)

A lock lists what pyproject.toml requires and what that requires, in the versions installed in
the environment that runs this script. To upgrade: install newer versions there, run the tests,
run this. Other packages that happen to be there are left out. Needs no network.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
INDEX = "https://download.pytorch.org/whl/cpu"  # PyPI has torch for Linux with CUDA only
CPU = """\
# mmx without CUDA, for Python 3.11 on Linux x86_64. Made by scripts/lock.py cpu; not by hand.
# pip install -r requirements/cpu.txt && pip install --no-deps mmx
# What was tried and what was not: docs/install.md.
--extra-index-url {index}
"""
TEST = """\
# The environment that CI tests in: Python 3.11 on Linux x86_64. Made by scripts/lock.py test; not
# by hand. Used as constraints: pip install -c requirements/test.txt -e '.[dev]'
"""


def main() -> None:
    """Write requirements/NAME.txt; NAME is cpu or test."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in ("cpu", "test"):
        sys.exit("usage: python scripts/lock.py cpu|test")
    wanted = required() if name == "cpu" else required("dev")
    versions = installed(wanted)
    if name == "cpu":
        versions["torch"] = build_for_cpu(versions["torch"])
        versions["torchvision"] = build_for_cpu(versions["torchvision"])
    head = CPU.format(index=INDEX) if name == "cpu" else TEST
    lines = [f"{package}=={version}\n" for package, version in sorted(versions.items())]
    (ROOT / "requirements" / f"{name}.txt").write_text(head + "".join(lines), encoding="utf-8")


def required(*extras: str) -> list[Requirement]:
    """What pyproject.toml requires, with its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def installed(wanted: list[Requirement]) -> dict[str, str]:
    """Name → version of all that these need here, directly or through others."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    left = [(one, "") for one in wanted]
    while left:
        one, extra = left.pop()
        if one.marker is not None and not one.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(one.name)
        versions[name] = metadata.version(one.name)
        for inner in {"", *one.extras}:
            if (name, inner) not in seen:
                seen.add((name, inner))
                left += [(Requirement(line), inner) for line in metadata.requires(one.name) or ()]
    return versions


def build_for_cpu(version: str) -> str:
    """The version that the CPU index has: 2.13.0+cpu."""
    return f"{version.partition('+')[0]}+cpu"


if __name__ == "__main__":
    main()
