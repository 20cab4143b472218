"""What ``mmx encoders`` lists: mmx's own records, and the encoders of installed packages."""

from __future__ import annotations

from mmx.extract.encoders.records import ENCODERS, EncoderRecord
from mmx.own.offers import ENCODERS as GROUP
from mmx.own.offers import Offer, offers


def listing() -> list[EncoderRecord]:
    """All records, in the order in which they are shown. Nothing is imported."""
    families = {record.family for record in ENCODERS.values()}
    theirs = [one for one in offers(GROUP) if one.name not in families]
    return [*ENCODERS.values(), *map(_record, theirs)]


def _record(offer: Offer) -> EncoderRecord:
    """What is known without opening it."""
    where = ":".join(filter(None, (offer.module, offer.attribute)))
    return EncoderRecord(
        spec=offer.name, library=offer.package, dimensions={}, pixels=None, tokens=None,
        megabytes=None, about=f"{where} of an installed package", citation="none",
        licence="see the package",
    )  # fmt: skip
