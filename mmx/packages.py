"""One-line errors for packages that are missing, broken or do not fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType

from mmx.errors import EncoderError, first_line

PIP = {  # what is imported → what pip calls it
    "torch": "torch",
    "torchvision": "torchvision",
    "open_clip": "open_clip_torch",
    "timm": "timm",
    "transformers": "transformers",
    "sentence_transformers": "sentence-transformers",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "huggingface_hub": "huggingface_hub",
    "accelerate": "accelerate",
    "peft": "peft",
    "faiss": "faiss-cpu",
    "scipy": "scipy",
    "numpy": "numpy",
    "PIL": "pillow",
    "pyarrow": "pyarrow",
    "duckdb": "duckdb",
    "httpx2": "httpx2",
    "httpcore2": "httpcore2",
    "ray": "ray",
    "yaml": "pyyaml",
    "packaging": "packaging",
}

UPGRADE = "pip install --upgrade"
_process = {"own": False}


def own_this_process() -> None:
    """Say that no other program shares this process: it is the command line, or a worker."""
    _process["own"] = True


def is_own_process() -> bool:
    """Whether no other program minds how packages are imported here, and what a signal means."""
    return _process["own"]


@contextmanager
def importing() -> Iterator[None]:
    """Around what imports packages. Raises EncoderError for one that cannot be imported."""
    try:
        yield
    except Exception as error:
        said = broken_package(error)
        if said is None:
            raise
        raise EncoderError(said) from error


def broken_package(error: BaseException) -> str | None:
    """One line on the package whose import failed; None for an error of any other kind."""
    package = _absent(error)
    if package is not None:
        return f"{package} is not installed; {_remedy(package)}"
    for one in _chain(error):
        package = _imported(one.__traceback__) or _lacking(one)
        if package is not None:
            said = first_line(one).rstrip(".")
            return (
                f"{package} cannot be imported ({type(one).__name__}: {said}); {_remedy(package)}"
            )
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """The error and what it came from, the first cause at the front."""
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found[::-1]


def _absent(error: BaseException) -> str | None:
    """The package that is not installed at all."""
    for one in _chain(error):
        name = one.name if isinstance(one, ModuleNotFoundError) else None
        if name in PIP:  # a missing module of an installed package is another fault
            return name
    return None


def _imported(trace: TracebackType | None) -> str | None:
    """The package whose module was being run by an import when it failed, the innermost."""
    package = None
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if frame.f_code.co_name == "<module>" and name in PIP:
            package = name
    return package


def _lacking(error: BaseException) -> str | None:
    """The package, of another version, from which a name cannot be imported."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return name if name in PIP else None


def _remedy(package: str) -> str:
    """The command that installs a package that works."""
    if package == "torchvision":
        return f"it must fit torch {_version('torch')}: {UPGRADE} torch torchvision"
    return f"{UPGRADE} {PIP[package]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "as it is installed"
