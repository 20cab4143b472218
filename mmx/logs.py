"""The logger ``mmx``: where lines for the user go when the caller gives no ``log`` callback.

Nothing is printed until the program that imports mmx sets logging up, as with any library.
"""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("mmx")


def log_line(line: str) -> None:
    """One line at INFO: the ``log`` callback by default."""
    LOGGER.info("%s", line)
