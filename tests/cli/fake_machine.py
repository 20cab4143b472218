"""A machine for ``mmx doctor``: stand-ins for packages, which come first on its path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TORCH = """
from types import SimpleNamespace as Space
__version__, version = "2.99.0", Space(cuda={cuda!r}, hip=None)
float32, bfloat16, float16 = "float32", "bfloat16", "float16"
class device:
    def __init__(self, name): self.type = name.partition(":")[0]
def no_driver(): raise RuntimeError("Found no driver. Please look")
facts = Space(name="Fast GPU", total_memory=80 * 2**30)
cuda = Space(
    device_count=lambda: {gpus}, get_device_properties=lambda index: facts, init=no_driver,
    get_device_capability=lambda device: (9, 0))
cpu = Space(_is_amx_tile_supported=lambda: False, _is_avx512_bf16_supported=lambda: False)
backends = Space(mps=Space(is_available=lambda: False))
get_num_threads = lambda: 3
"""


@dataclass(frozen=True)
class Answer:
    """What one run of the command left."""

    code: int
    rows: dict[str, dict[str, Any]]
    errors: list[str]  # lines on stderr that complain


@dataclass(frozen=True)
class Machine:
    """Modules and metadata of packages, which come first on the path of the command."""

    path: Path
    url: str

    def module(self, name: str, content: str = "") -> None:
        (self.path / name).mkdir(exist_ok=True)
        (self.path / name / "__init__.py").write_text(content)

    def package(self, name: str, version: str, *needs: str, extras: tuple[str, ...] = ()) -> None:
        folder = self.path / f"{name}-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        lines = [f"Name: {name}", f"Version: {version}", f"Requires-Python: >={3.11}"]
        lines += [f"Requires-Dist: {line}" for line in needs]
        lines += [f"Provides-Extra: {extra}" for extra in extras]
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", *lines, ""]))

    def run(self, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self.path), str(ROOT), os.environ.get("PYTHONPATH", "")])
        home = {"HF_ENDPOINT": self.url, "XDG_CACHE_HOME": str(self.path / "home")}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TORCH_HOME"))}
        return subprocess.run(
            [sys.executable, "-m", "mmx", "doctor", *options], cwd=self.path, check=False,
            env={**clean, "PYTHONPATH": path, **home, **env},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    def doctor(self, **env: str) -> Answer:
        done = self.run("--json", **env)
        assert "Traceback" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("mmx: error")]
        found = json.loads(done.stdout)
        assert found["ok"] == (done.returncode == 0) == (not errors)
        return Answer(done.returncode, {row["check"]: row for row in found["checks"]}, errors)
