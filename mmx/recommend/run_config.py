"""config.json of a run: read and checked, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmx.errors import RunError, first_line
from mmx.files import open_regular, parse_json
from mmx.recommend.soundness import check_config

FORMAT = 1


def config_of(path: Path) -> dict[str, Any]:
    """Of a run's folder. Raises RunError for that of another version, ValueError on damage."""
    return _checked(path / "config.json", path)


def read_config(path: Path) -> tuple[str, dict[str, Any]]:
    """What a message calls it, and the record; ``path`` is the file or its folder.

    Raises RunError when there is none, or it is damaged or of another version.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        return str(file), _checked(file, file)
    except OSError as error:
        raise RunError(f"cannot read {file}: {error.strerror}; give the config.json of a run of "
                       "`mmx train`") from error  # fmt: skip
    except ValueError as error:
        raise RunError(f"{file} is broken: {first_line(error).rstrip('. ')}; take the config.json "
                       "of another run") from error  # fmt: skip


def _checked(file: Path, named: Path) -> dict[str, Any]:
    with open_regular(file) as opened:
        config = parse_json(opened.read())
    if not isinstance(config, dict):
        raise ValueError("config.json is not the record of a run")
    found = config.get("format")
    if found is None and isinstance(config.get("card"), dict):
        raise RunError(f"{named} is a fine-tuned encoder, not a run of `mmx train`; encode with "
                       f"it: mmx extract --weights {named}")  # fmt: skip
    if found != FORMAT or isinstance(found, bool):
        raise RunError(f"{named} has run format {str(found)[:40]!r}, this is {FORMAT}; retrain")
    check_config(config)
    return config
