"""WebDataset tar shards as an items table: one pass over the headers, nothing unpacked.

    00017.jpg  00017.txt  00018.webp  00018.json …

A key (all of a name before the first dot of its last part) is an item: its picture, and the text
of its ``.txt`` or the ``caption`` of its ``.json``. Further pictures of a key (``00017.mask.png``)
are left out, and counted. The column ``image`` says where the bytes
are: ``000.tar@1536+20480`` is 20480 bytes from byte 1536.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmx.data.pictures import EXTENSIONS
from mmx.data.tables import has_table
from mmx.errors import DataError, first_few
from mmx.files import Place, as_place, parse_json, reaching

BLOCK = 512  # bytes; everything in a tar starts at a multiple of it
SPECIAL = re.compile(r"[{*?\[]")


@dataclass
class ShardSample:
    """What a shard holds for one key."""

    image: str | None = None
    text: str | None = None
    caption: str | None = None
    further: list[str] = field(default_factory=list)  # names of pictures such as x.1.jpg


def is_shards(data: Place | str) -> bool:
    """Whether ``--data`` means tar shards: one, a pattern, or a folder without an items table."""
    if str(data).endswith(".tar"):
        return True
    place = as_place(data)
    if not isinstance(place, Path) or not place.is_dir():
        return False
    return not has_table(place, "items") and any(place.glob("*.tar"))


def shards_folder(data: str) -> Place:
    """The folder that shard names start from."""
    if not data.endswith(".tar"):
        return as_place(data)
    fixed = SPECIAL.split(data, maxsplit=1)[0]
    folder, slash, _ = fixed.rpartition("/")
    return as_place(folder or slash or ".")


def read_shards(data: str) -> tuple[Place, pa.Table, str]:
    """The folder and the items table of shards: item_id, image, text, in the shards' order.

    Also what was left out, in a line, where something was. Raises DataError for a shard that is
    absent, broken or compressed, for a key that occurs twice, and for one whose only pictures have
    a further dot in their names: which of them is the item's, or whether each is an item, is not
    known.
    """
    folder = shards_folder(data)
    found: dict[str, ShardSample] = {}
    home: dict[str, str] = {}
    for shard in _listed(data, folder):
        name = str(shard).removeprefix(f"{folder}/")
        samples = _scan(shard, name)
        twice = [f"{key} in {home[key]} and {name}" for key in samples if key in home]
        if twice:
            raise DataError(
                f"{data}: keys occur twice ({first_few(twice)}); a key is an item_id, so write the "
                "shards with distinct keys"
            )
        found |= samples
        home |= dict.fromkeys(samples, name)
    if not found:
        raise DataError(f"{data} holds no samples")
    left_out = _further(data, found)
    columns = {
        "item_id": list(found),
        "image": [sample.image for sample in found.values()],
        "text": [s.caption if s.text is None else s.text for s in found.values()],
    }
    table = pa.table({name: pa.array(c, pa.string()) for name, c in columns.items()})
    return folder, table, left_out


def _further(data: str, found: dict[str, ShardSample]) -> str:
    """A line on the pictures left out for a further dot. Raises DataError if a key has no other."""
    lost = [name for sample in found.values() if sample.image is None for name in sample.further]
    if lost:
        raise DataError(
            f"{data}: {first_few(lost)}: a key ends at the first dot, so no picture of these keys "
            "is called KEY.jpg; write the shards with names of one dot"
        )
    further = [name for sample in found.values() for name in sample.further]
    if not further:
        return ""
    return f"{len(further):,} further pictures of keys are left out ({first_few(further)})"


def _listed(data: str, folder: Place) -> list[Place]:
    """The shards that a pattern means, in order. Raises DataError where it means none."""
    if not data.endswith(".tar"):
        return list(_matching(folder, "*.tar"))
    start = "" if str(folder) == "." else f"{str(folder).rstrip('/')}/"
    shards: list[Place] = []
    for name in expand(data):
        inner = name.removeprefix("./").removeprefix(start)
        few = _matching(folder, inner) if re.search(r"[*?\[]", inner) else [folder / inner]
        if not few or not few[0].is_file():
            raise DataError(f"no shard at {name}; shards are named like 'shards/{{000..099}}.tar'")
        shards += few
    return shards


def _matching(folder: Place, pattern: str) -> list[Place]:
    found: list[Place] = sorted(folder.glob(pattern))
    for shard in found:
        if isinstance(shard, Path) and not shard.is_file():
            raise DataError(f"{shard} is not a file; --data takes tar shards")
    return found


def expand(pattern: str) -> list[str]:
    """``a/{000..002}.tar`` and ``{a,b}.tar`` as their names; numbers keep their leading zeros."""
    split = re.split(r"\{([^{}]*)\}", pattern)  # fixed, inside, fixed, inside, fixed
    choices = [_choices(p) if n % 2 else [p] for n, p in enumerate(split)]
    return ["".join(parts) for parts in product(*choices)]


def _choices(inside: str) -> list[str]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if span is None:
        return inside.split(",")
    first, last = span.groups()
    width = len(first) if first.startswith("0") or last.startswith("0") else 0
    return [f"{n:0{width}d}" for n in range(int(first), int(last) + 1)]


def _scan(shard: Place, name: str) -> dict[str, ShardSample]:
    """What one shard holds, by key."""
    samples: dict[str, ShardSample] = {}
    with reaching(shard), shard.open("rb") as file:
        for member in _members(file, shard):
            folder, _, last = member.name.removeprefix("./").rpartition("/")
            stem, _, extension = last.partition(".")
            if not stem or not extension:
                continue
            sample = samples.setdefault(f"{folder}/{stem}" if folder else stem, ShardSample())
            _add(sample, member, extension.lower(), f"{name}@{member.offset_data}+{member.size}",
                 file, shard)  # fmt: skip
    return samples


def _add(
    sample: ShardSample,
    member: tarfile.TarInfo,
    extension: str,
    place: str,
    file: Any,
    shard: Place,
) -> None:
    if "." in extension and extension.rpartition(".")[2] in EXTENSIONS:
        sample.further.append(member.name)
    part = {"txt": "text", "json": "caption"}.get(extension)
    part = "image" if extension in EXTENSIONS else part
    if part is None:
        return
    if getattr(sample, part) is not None:
        raise DataError(f"{shard}: {member.name} comes after another {part} of its key")
    value: str | None = place
    if part != "image":
        file.seek(member.offset_data)
        value = file.read(member.size).decode(errors="replace")
    setattr(sample, part, _caption(value) if part == "caption" else value)


def _caption(text: str | None) -> str | None:
    try:
        found = parse_json(text or "").get("caption")
    except (ValueError, AttributeError):  # no JSON, or not an object
        return None
    return found if isinstance(found, str) else None


def _members(file: Any, shard: Place) -> Iterator[tarfile.TarInfo]:
    """The regular files of a tar. Raises DataError unless it is whole to its end mark.

    ``tarfile`` takes a damaged header for the end of the archive, so the end is checked here.
    """
    last = "its beginning"
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                if member.isreg() and not member.issparse():
                    yield member
                last = member.name
                tar.members = []  # type: ignore[attr-defined]  # or it keeps them all
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        raise DataError(
            f"{shard} is broken after {last}: {error}; fetch or write it again (.tar, uncompressed)"
        ) from error
    file.seek(end)
    mark = file.read(BLOCK)
    if len(mark) < BLOCK or mark.strip(b"\0"):
        raise DataError(f"{shard} breaks off after {last} (byte {end}); fetch or write it again")
