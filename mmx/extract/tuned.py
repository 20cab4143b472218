"""What a folder with a fine-tuned encoder says of itself: that of ``mmx finetune``, or the folder
``encoder/`` of a run that was trained end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmx.errors import EncoderError, first_line
from mmx.files import parse_json

MADE_BY = ("finetune", "end_to_end")  # keys of config.json that hold the encoder's name


def is_tuned(path: Path) -> bool:
    """Whether the folder's config.json is that of a fine-tuned encoder; a broken one is not."""
    try:
        config = parse_json((path / "config.json").read_bytes())
    except (OSError, ValueError):
        return False
    made = isinstance(config, dict) and any(isinstance(config.get(key), str) for key in MADE_BY)
    return made and isinstance(config.get("card"), dict)


def tuned_facts(path: Path) -> dict[str, Any]:
    """config.json, and metrics.json where there is one. Raises EncoderError when one is damaged."""
    facts: dict[str, Any] = {"encoder": str(path), **_record(path / "config.json")}
    if (path / "metrics.json").exists():
        facts["metrics"] = _record(path / "metrics.json")
    return facts


def verify_tuned(path: Path) -> None:
    """Read the weights. Raises EncoderError when the file is cut short or is none."""
    from mmx.extract.weights import read_state_dict

    try:
        read_state_dict(path / "model.safetensors")
    except EncoderError as error:  # in the words of the option, which was not given
        reason = str(error).removeprefix("--weights ")
        raise EncoderError(f"{reason}; fine-tune again") from error


def _record(file: Path) -> dict[str, Any]:
    try:
        found = parse_json(file.read_bytes())
        json.dumps(found)  # what is printed later
    except RecursionError as error:
        raise EncoderError(
            f"{file} is damaged: it is nested too deeply; fine-tune again"
        ) from error
    except (OSError, ValueError) as error:
        raise EncoderError(f"{file} is damaged: {first_line(error)}; fine-tune again") from error
    if not isinstance(found, dict):
        raise EncoderError(f"{file} is damaged: it is not a JSON object; fine-tune again")
    return found
