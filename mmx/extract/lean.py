"""Import open_clip and torchvision without the parts that take long and are not used.

    torch._dynamo         torchvision.ops imports it for one function; half of torchvision's time
    timm, transformers    open_clip takes them for towers that most of its architectures lack
    pandas                pyarrow imports it to recognise its objects; there are none here

For the time of the import they count as not installed; afterwards nothing of that is left, and an
architecture that does need them gets them (``complete``). Another thread could see it meanwhile,
so it is done only in processes of mmx's own, the command line and its workers.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from mmx.files import parse_json
from mmx.packages import is_own_process

TOWERS = ("timm", "transformers")
ADAPTERS = ("open_clip.timm_model", "open_clip.hf_model", "open_clip.coca_model")
USING = ("timm_model_name", "hf_model_name", "multimodal_cfg")
DYNAMO = "torch._dynamo.utils"
_incomplete: set[str] = set()  # adapters that were imported without their package


@contextmanager
def open_clip_for(config: Path | None) -> Iterator[None]:
    """Around the import of open_clip for the architecture in ``config``; None: any."""
    if config is None or _uses_towers(config):
        complete()
        yield
        return
    fresh = is_own_process() and "open_clip" not in sys.modules
    with _absent(*TOWERS if fresh else ()) as absent, torchvision():
        yield
    if absent:
        _incomplete.update(ADAPTERS)


@contextmanager
def torchvision() -> Iterator[None]:
    """Around the import of torchvision."""
    if not is_own_process() or {"torchvision", "torch._dynamo"} & sys.modules.keys():
        yield
        return
    stub = sys.modules[DYNAMO] = _Lazy(DYNAMO)
    try:
        yield
    finally:
        if sys.modules.get(DYNAMO) is stub:
            del sys.modules[DYNAMO]


def without_pandas() -> None:
    """Have pyarrow do without pandas, which it would import only to recognise its objects."""
    if is_own_process() and "pandas" not in sys.modules:
        with _absent("pandas"):
            import pyarrow

            pyarrow.array([0])  # it looks once


def complete() -> None:
    """Give open_clip the packages that were kept out when it was imported."""
    while _incomplete:
        importlib.reload(sys.modules[_incomplete.pop()])


def config_of(name: str) -> Path | None:
    """The file that describes what follows "clip:", found without importing; None: not here."""
    if name.startswith("local-dir:"):
        path = Path(name.removeprefix("local-dir:")) / "open_clip_config.json"
    else:
        spec = importlib.util.find_spec("open_clip")
        folder = (spec.submodule_search_locations or [""])[0] if spec else ""
        path = Path(folder) / "model_configs" / f"{name.partition('/')[0]}.json"
    return path if path.is_file() else None


def _uses_towers(config: Path) -> bool:
    try:
        text = config.read_text(encoding="utf-8")
        parse_json(text)
    except (OSError, ValueError):
        return True  # open_clip says what is wrong
    return any(f'"{key}"' in text for key in USING)


class _Absent:
    """A finder that finds some packages nowhere, for imports of the thread that made it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names, self.thread = names, threading.get_ident()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """See importlib.abc.MetaPathFinder. Raises ModuleNotFoundError for the names."""
        if name in self.names and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


@contextmanager
def _absent(*names: str) -> Iterator[list[str]]:
    """Packages that are not imported yet cannot be, in the block; which they are."""
    kept = tuple(name for name in names if name not in sys.modules)
    finder: Any = _Absent(kept)
    sys.meta_path.insert(0, finder)
    try:
        yield list(kept)
    finally:
        sys.meta_path.remove(finder)


class _Lazy(ModuleType):
    """A module that has one function, and imports the real one for anything else."""

    @staticmethod
    def is_compile_supported(device_type: Any) -> Any:
        """torch's own function, imported when it is called."""
        return importlib.import_module(DYNAMO).is_compile_supported(device_type)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(DYNAMO) is self:
            del sys.modules[DYNAMO]
        return getattr(importlib.import_module(DYNAMO), name)
