"""Extractions whose pictures are decoded by other processes."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.extract.stages.progress import Progress
from tests.catalogue import plain_catalogue, write_items
from tests.extract.descendants import alive, command_of


def run(
    data: Path,
    out: Path,
    processes: int | None,
    progress: Callable[[Progress], None] = lambda state: None,
    also: dict[str, Any] | None = None,
    **given: Any,
) -> ExtractReport:
    """By the toy encoder; ``also`` are further options."""
    options = {"batch_size": 5, "part_size": 20, "decode_processes": processes, **(also or {})}
    encoder = open_encoder("toy")
    return extract(load_items(data), encoder, out, ExtractOptions(**options), progress, **given)


def decoders_of(mark: str) -> list[int]:
    """The nursery and the decoders of a test."""
    return [p for p in alive(mark) if "stages.forked" in command_of(p)]


def killing(mark: str, killed: list[int]) -> Callable[[Progress], None]:
    """Kills four of them in the course of a job: decoders, and once the nursery."""

    def kill(state: Progress) -> None:
        if state.stage == "encode" and state.done > 50 * (len(killed) + 1) and len(killed) < 4:
            killed.append(sorted(decoders_of(mark))[0 if len(killed) == 1 else -1])
            os.kill(killed[-1], signal.SIGKILL)

    return kill


def odd_catalogue(folder: Path) -> Path:
    """Pictures of all fates: files, data URIs, broken, missing; texts that are changed or not."""
    plain_catalogue(folder, 60)
    picture = (folder / "images/3.png").read_bytes()
    (folder / "images/7.png").write_bytes(picture[:60])
    (folder / "images/8.png").write_bytes(b"")
    (folder / "images/9.png").write_text("no picture")
    rows = load_items(folder).table.select(["item_id", "image", "text"]).to_pylist()
    rows[11]["image"] = "data:image/png;base64," + base64.b64encode(picture).decode()
    rows[12]["image"], rows[13]["image"], rows[14]["image"] = None, "images/gone.png", " "
    rows[15]["text"], rows[16]["text"], rows[17]["text"] = None, " \t", "two\x00words "
    return write_items(folder, rows)
