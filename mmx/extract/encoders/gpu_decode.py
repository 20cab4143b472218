"""Whether an encoder's device decodes its pictures."""

from __future__ import annotations

from mmx.errors import OptionError, first_line
from mmx.extract.encoder import Encoder
from mmx.extract.pictures.decoding import FILTERS
from mmx.extract.pictures.jpegs import Jpegs


def must_decode(encoder: Encoder) -> None:
    """Raises OptionError where "gpu" is requested and nothing can be decoded so."""
    rule, name = encoder.image_rule, encoder.card.name
    if rule is None or rule.decode != "gpu":
        raise OptionError(f"{name} decodes no pictures on a GPU; drop --gpu-decode")
    if rule.interpolation not in FILTERS:
        raise OptionError(f"no {rule.interpolation} filter on a GPU; drop --gpu-decode")
    device = encoder.hardware.device
    try:
        Jpegs(rule, device).must_work()
    except (ImportError, RuntimeError, OSError) as error:
        reason = first_line(error)
        raise OptionError(f"{device} decodes no JPEGs ({reason}); drop --gpu-decode") from error
