"""Help in groups: the options of a long command under the headings of their subjects."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class GroupedCommand(TyperCommand):
    """A command whose options are listed by their ``rich_help_panel``, in order of appearance.

    Typer draws such groups with rich alone, whose import takes longer than all of ``--help``.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """One section a group; what belongs to none comes last, as Other."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            title = "Arguments" if param.param_type_name == "argument" else "Other"
            title = getattr(param, "rich_help_panel", None) or title
            groups.setdefault(title, []).append(record)
        other = groups.pop("Other", [])
        for title, records in [*groups.items(), ("Other", other)]:
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
