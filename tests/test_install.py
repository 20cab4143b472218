"""The files that install mmx agree: pyproject.toml, locks, Makefile, CI, Dockerfile and docs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmx import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = (ROOT / "docs/install.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DEV = PROJECT["optional-dependencies"]["dev"]
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"}


def made(script: str) -> list[str]:
    """The targets that lines of ``make`` in a script name, in their order."""
    return re.findall(r"^(?:RUN )?make ([a-z]+)$", script, re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    """Package → exact version of a lock; any other line than an option is refused."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith(("#", "--"))]
    found = dict(line.split("==") for line in pins)
    assert len(found) == len(pins), "a package is listed twice"
    return found


def needed(lines: list[str]) -> list[Requirement]:
    """What a list of pyproject.toml needs on Linux."""
    found = [Requirement(line) for line in lines]
    return [one for one in found if one.marker is None or one.marker.evaluate(LINUX)]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("test", needed([*PROJECT["dependencies"], *DEV])),
        ("cpu", needed(PROJECT["dependencies"])),
    ],
)
def test_a_lock_covers_every_dependency(name: str, wanted: list[Requirement]) -> None:
    pins = locked(name)
    assert len(wanted) > 15
    for one in wanted:
        version = pins.get(canonicalize_name(one.name))
        assert version, f"requirements/{name}.txt lacks {one.name}: python scripts/lock.py {name}"
        assert one.specifier.contains(version), f"{one} is locked at {version}"


def test_the_lock_without_cuda_has_none() -> None:
    pins = locked("cpu")
    assert [name for name in pins if name.startswith(("nvidia", "cuda", "triton"))] == []
    assert "faiss-gpu" not in pins
    assert pins["torch"].endswith("+cpu")
    assert pins["torchvision"].endswith("+cpu")
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in (
        (ROOT / "requirements/cpu.txt").read_text().splitlines()
    )


def test_locks_are_made_from_the_environment(tmp_path: Path) -> None:
    """The script, run on a copy here, where all of the test lock is installed."""
    for name in ("scripts/lock.py", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "requirements").mkdir()
    script = [sys.executable, str(tmp_path / "scripts/lock.py")]
    subprocess.run([*script, "test"], check=True)
    written = (tmp_path / "requirements/test.txt").read_text()
    pins = dict(line.split("==") for line in written.splitlines() if not line.startswith("#"))
    assert pins.keys() == locked("test").keys()
    refused = subprocess.run([*script, "gpu"], check=False, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "")


def test_make_test_installs_by_the_lock() -> None:
    (line,) = re.findall(r"pip install (.*--editable '\.\[dev\]')", MAKEFILE)
    assert "--constraint requirements/test.txt" in line
    assert ".installed-dev: pyproject.toml requirements/test.txt " in MAKEFILE


def test_every_target_is_explained_and_phony() -> None:
    explained = set(re.findall(r"^# make ([a-z]+) ", MAKEFILE, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert explained == TARGETS == set(phony.split())
    assert {"format", "check"} <= TARGETS


def test_the_dockerfile_runs_what_ci_runs() -> None:
    image = (ROOT / "Dockerfile").read_text()
    ci = made((ROOT / ".ci/run").read_text())
    assert made(image) == ci == ["test", "slow", "lint", "demo"]
    assert set(ci) <= TARGETS
    assert len(made(image)) == len(re.findall(r"^RUN ", image, re.MULTILINE))
    assert "FROM python:3.11-" in image
    assert "was not built" in " ".join(image.replace("#", "").split())


def test_the_page_names_what_is_there() -> None:
    for place in (".", "mmx"):
        assert f"pip install -r requirements/cpu.txt && pip install --no-deps {place}" in PAGE
    assert set(re.findall(r"\bmake ([a-z]+)\b", " ".join(re.findall(r"`[^`]+`", PAGE)))) <= TARGETS
    for path in re.findall(r"(?:requirements|scripts)/[a-z_]+\.(?:txt|py)", PAGE):
        assert (ROOT / path).is_file(), path
    for extra in PROJECT["optional-dependencies"]:
        assert f"`{extra}`" in PAGE
    assert "was not built" in " ".join(PAGE.split())


def test_only_the_python_that_ci_runs_is_claimed() -> None:
    claimed = [line.split(" :: ")[-1] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert claimed == ["3.11"]
    assert PROJECT["authors"] == [{"name": "the mmx authors"}]
    assert "urls" not in PROJECT  # none is known
    assert not [line for line in PROJECT["classifiers"] if line.startswith("License")]  # PEP 639


def test_citation() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    for key in ("message", "title", "authors", "type"):
        assert cited[key]
    assert cited["version"] == __version__ == PROJECT["version"]
    assert cited["license"] == PROJECT["license"]
    (paper,) = cited["references"]
    assert paper["title"] == "Large Multi-modal Encoders for Recommendation"
    assert [one["family-names"] for one in paper["authors"]] == [
        "Yi", "Long", "Ounis", "Macdonald", "McCreadie",
    ]  # fmt: skip
    assert "2310.20343" in paper["url"]


def test_changelog_has_the_version_to_come() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    assert __version__ in text


def test_hooks_run_the_ruff_of_the_environment() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"].split(" --")[0] for hook in repo["hooks"]] == [
        "ruff check",
        "ruff format",
    ]
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}
