"""What an encoder was when it was opened last: a hint, so that a job with nothing to do opens none.

    ~/.cache/mmx/opened/HASH.json   the card, and size and times of every file that was read

HASH is that of the whole request: model, options and devices as they were given, the folder, the
versions of the libraries and mmx's own files. It is kept in the user's cache and not in the store:
paths and times differ between machines, and the same vectors must end in the same bytes.

The hint decides one thing only: whether the encoder must be opened to find that there is nothing
to encode. Whoever encodes opens it, and compares the cards then. Anything unclear means "unknown".
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from mmx.atomic import write_text
from mmx.cache.card import EncoderCard
from mmx.cache.schema import library_versions
from mmx.errors import MmxError
from mmx.files import parse_json, user_cache

MOST_FILES = 1000  # below a folder; a larger one is not remembered
MOST_HINTS = 200  # the oldest are deleted
LIBRARIES = ("tokenizers", "safetensors", "huggingface_hub", "peft", "ftfy", "regex")
PLACES = ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "TORCH_HOME", "XDG_CACHE_HOME", "HOME")

Stamps = dict[str, list[int]]  # path → size, time of change, time of change of its facts


def hint_of(request: Mapping[str, Any]) -> Path:
    """Where the hint for a request is kept. Options must be values that print the same again."""
    facts = {
        "request": request,
        "folder": os.getcwd(),
        "places": {name: os.environ.get(name) for name in PLACES},
        "versions": [sys.version, library_versions(), _versions(LIBRARIES)],
        "mmx": stamps(Path(__file__).parents[1]),
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return user_cache() / "opened" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def recall(hint: Path) -> EncoderCard | None:
    """The card that the request gave, if no file that was read has changed; None: unknown."""
    try:
        found = parse_json(hint.read_bytes())
        if not found["files"] or any(stamps(Path(p)) != was for p, was in found["files"].items()):
            return None
        return EncoderCard.from_json(json.dumps(found["card"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, MmxError):
        return None


def remember(hint: Path, card: EncoderCard, files: Iterable[Path], began: int) -> None:
    """Keep what a request gave; ``began`` is when the files were first read, in ns since 1970.

    Nothing is kept where a file has changed since, or where the cache cannot be written.
    """
    with suppress(OSError, ValueError, MmxError):
        found = {str(path.absolute()): stamps(path.absolute()) for path in files}
        newest = max(
            (max(s[1:]) for one in found.values() for s in (one or {}).values()), default=0
        )
        if newest >= began or not any(found.values()):
            hint.unlink(missing_ok=True)
            return
        write_text(hint, json.dumps({"card": json.loads(card.to_json()), "files": found}))
        _prune(hint.parent)


def stamps(root: Path) -> Stamps | None:
    """Of a file, or of all files below a folder; None where nothing is.

    Raises ValueError for a folder with more than MOST_FILES.
    """
    if root.is_dir():
        inner = (path for path in root.rglob("*") if "__pycache__" not in path.parts)
        files = sorted(islice((path for path in inner if path.is_file()), MOST_FILES + 1))
        if len(files) > MOST_FILES:
            raise ValueError(f"{root} holds too many files")
    else:
        files = [root] if root.exists() else []
    return {str(path): _stamp(path) for path in files} or None


def _stamp(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]


def _versions(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _prune(folder: Path) -> None:
    hints = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for old in hints[:-MOST_HINTS]:
        old.unlink(missing_ok=True)
