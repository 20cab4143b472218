"""The code of docs/own.md, as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs/own.md").read_text()
MODEL, CLOSED, ENCODER, CHECKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
IMPORTS = """
from dataclasses import dataclass
import numpy as np
from mmx.recommend.protocol import ClosedModel
from mmx.recommend.scoring import Factors

"""


def write_files(folder: Path) -> None:
    """mine.py, recent.py and colours.py."""
    (folder / "mine.py").write_text(MODEL)
    (folder / "recent.py").write_text(IMPORTS + CLOSED)
    (folder / "colours.py").write_text(ENCODER)
