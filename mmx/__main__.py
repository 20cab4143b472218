"""``python -m mmx``."""

from mmx.cli import program

program()
