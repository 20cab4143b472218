"""A file or module with the user's own code. Holding a ``Code`` is the permission to run it."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from mmx.errors import MmxError, OptionError, RunError
from mmx.own.member import Member

_loaded: dict[str, ModuleType] = {}  # files by the name that their module got


class Reference(NamedTuple):
    """What ``mine.py:Model`` or ``package.module:Model`` says."""

    source: str  # a path that ends in .py, or a module's name
    member: str

    @property
    def is_file(self) -> bool:
        """Whether it names a file."""
        return self.source.endswith(".py")


def reference(text: str) -> Reference | None:
    """A text as a reference; None where it has not the form of one.

    Raises OptionError for a file without a class.
    """
    if text.endswith(".py"):
        raise OptionError(f"{text} names a file and no class; add it, as in {text}:Model")
    source, _, member = text.rpartition(":")
    named = source.endswith(".py") or all(part.isidentifier() for part in source.split("."))
    return Reference(source, member) if named and member.isidentifier() else None


@dataclass(frozen=True)
class Code:
    """Code that the user named. Made from what was typed or written in a program, no other way."""

    where: str  # absolute path of a file, or a module's name
    sha256: str  # of the file, or of the module's file
    content: bytes | None = field(default=None, repr=False)  # of a file, as it was hashed

    @classmethod
    def named(cls, text: Path | str, option: str = "--code") -> Code:
        """Of a file (``mine.py``) or a module (``package.module``). Nothing is run or imported.

        Raises OptionError where there is none.
        """
        text = str(text)
        if text.endswith(".py"):
            content = _read(Path(text), option)
            return cls(str(Path(text).resolve()), hashlib.sha256(content).hexdigest(), content)
        file = source_file(text)
        if file is None:
            raise OptionError(f"{option} {text} is neither a .py file nor an importable module")
        return cls(text, hashlib.sha256(_read(file, option)).hexdigest())

    @property
    def name(self) -> str:
        """``mine.py``, whatever its folder, or the module's name."""
        return self.where if self.content is None else Path(self.where).name

    def member(self, name: str, kind: type[MmxError] = RunError) -> tuple[Member, Any]:
        """A class of it, which runs the file once a process.

        Raises OptionError without one, and ``kind`` for an error in it.
        """
        whole, module = self.whole(kind)
        if not hasattr(module, name):
            own = [key for key, value in vars(module).items() if _is_own(value, module)]
            raise OptionError(f"{self.name} has no {name}; it has {', '.join(own) or 'no class'}")
        return replace(whole, name=f"{self.name}:{name}"), getattr(module, name)

    def whole(self, kind: type[MmxError] = RunError) -> tuple[Member, ModuleType]:
        """The module itself, run or imported once a process. Raises ``kind`` for an error in it."""
        if self.content is not None:
            member = Member(self.name, self.sha256, self.where)
            return member, self._of_file(self.content, member, kind)
        top, file = source_file(self.where.partition(".")[0]), str(source_file(self.where))
        folder = str(top.parent) if top is not None and top.stem == "__init__" else ""
        member = Member(self.name, self.sha256, file, folder=folder)
        with member.blamed(kind):
            return member, import_module(self.where)

    def _of_file(self, content: bytes, member: Member, kind: type[MmxError]) -> ModuleType:
        """The bytes that were hashed are those that are run; no .pyc is read or written."""
        mark = hashlib.sha256(f"{self.where}\n{self.sha256}".encode()).hexdigest()
        name = f"mmx_own_{mark[:16]}"
        if name not in _loaded:
            module = ModuleType(name)
            module.__file__ = self.where
            sys.modules[name] = module  # dataclasses and pickle look there
            try:
                with member.blamed(kind):
                    exec(compile(content, self.where, "exec", dont_inherit=True), vars(module))
            except BaseException:
                del sys.modules[name]
                raise
            _loaded[name] = module
        return _loaded[name]


Codes = Sequence[Code | Path | str] | Code | Path | str


def as_codes(given: Codes) -> tuple[Code, ...]:
    """One or several, each a Code, or the path or module that a program names."""
    if isinstance(given, Code | Path | str):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise OptionError(f"code is a {type(given).__name__}; files or modules are expected")
    return tuple(one if isinstance(one, Code) else Code.named(one) for one in given)


def named_by(text: str, option: str = "--model") -> tuple[Code, ...]:
    """The code that an option of this command names; none for a name of mmx's own."""
    found = reference(text)
    return () if found is None else (Code.named(found.source, option),)


def allowed(found: Reference, codes: Iterable[Code]) -> Code:
    """The code that a reference names, if it is among ``codes``.

    Raises OptionError otherwise: nothing is read or imported then.
    """
    where = str(Path(found.source).resolve()) if found.is_file else found.source
    for code in codes:
        if code.where == where:
            return code
    raise OptionError(
        f"{found.source}:{found.member} is code, which runs only where the command itself names "
        f"it: --code {found.source}"
    )


def class_member(kind: type) -> Member:
    """Of a class that a program gives itself."""
    try:
        file = Path(inspect.getfile(kind))
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except (OSError, TypeError):  # typed into a console
        return Member(kind.__name__)
    return Member(f"{file.name}:{kind.__name__}", sha256, str(file))


def source_file(module: str) -> Path | None:
    """The source of a module, found without importing it or the packages it is in."""
    first, *others = module.split(".")
    try:
        spec = find_spec(first) if first.isidentifier() else None
    except (ValueError, ImportError):
        spec = None
    if spec is None:
        return None
    if not others:
        return _existing([Path(spec.origin)] if spec.origin else [])
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    *between, last = others
    folders = [folder.joinpath(*between) for folder in folders]
    return _existing(
        [f for folder in folders for f in (folder / last / "__init__.py", folder / f"{last}.py")]
    )


def _existing(files: Iterable[Path]) -> Path | None:
    return next((file for file in files if file.suffix == ".py" and file.is_file()), None)


def _read(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise OptionError(f"{option} {file} cannot be read: {error.strerror}") from error


def _is_own(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__
