"""``python -m mmx``."""

from mmx.cli import main

main()
