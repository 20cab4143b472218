"""The encoder card: what exactly a vector in a store is.

Two vectors can be compared only if their cards have the same identity. The card is in
the Parquet metadata of a store, so a copied file still says what it holds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mmx.cache.modality import clashes
from mmx.errors import StoreError
from mmx.files import parse_json

KINDS: dict[tuple[str, ...], tuple[type, ...]] = {  # of the fields of a card
    ("name", "library", "architecture", "weights", "precision", "output"): (str,),
    ("parameters_sha256", "weights_sha256", "tokenizer"): (str, type(None)),
    ("dimensions", "extra"): (dict,),
    ("normalised",): (bool,),
    ("image_rule",): (dict, type(None)),
    ("text_limit",): (int, float, type(None)),
}
LARGEST = 1 << 24  # numbers of a vector: 64 MiB


@dataclass(frozen=True)
class EncoderCard:
    """Everything that determines the numbers of an embedding.

    ``dimensions`` maps each modality the encoder gives to its length d, in store order.
    """

    name: str  # what --model was given, e.g. "clip:ViT-B-16/openai"
    library: str  # the package that computes it, e.g. "open_clip"
    architecture: str  # the library's own name of the architecture
    weights: str  # tag, hub repository or file name
    dimensions: dict[str, int]  # modality -> d
    normalised: bool  # True when every vector has L2 norm 1
    precision: str  # what the forward pass computes in: "float32", "bfloat16", "float16"
    parameters_sha256: str | None = None  # of names, shapes and values of all parameters
    weights_sha256: str | None = None  # of the weights file, where there is one file
    image_rule: dict[str, Any] | None = None  # mmx.extract.pictures.images.ImageRule as a dict
    tokenizer: str | None = None  # the tokenizer's own name
    text_limit: int | None = None  # tokens, special tokens included
    output: str = ""  # which layer or head the vectors are taken from
    extra: dict[str, Any] = field(default_factory=dict)  # what only this encoder has

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in store order."""
        return tuple(self.dimensions)

    def to_json(self) -> str:
        """The card as one line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> EncoderCard:
        """Read a card back. Raises StoreError when it is not one."""
        try:
            values = parse_json(text)
            known = {f.name for f in fields(cls)}
            card = cls(**{key: value for key, value in values.items() if key in known})
            card.check()
            return card
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(f"the encoder card in the file is unreadable ({error})") from error

    def check(self) -> None:
        """Raise ValueError when a field is not of its kind; code that reads cards relies on it."""
        for names, kinds in KINDS.items():
            for name in names:
                value = getattr(self, name)
                if not isinstance(value, kinds):
                    raise ValueError(f"{name} is {str(value)[:40]!r}")
        if not self.dimensions:
            raise ValueError("it names no modality")
        for modality, d in self.dimensions.items():
            if not modality or clashes(modality) or not modality.isprintable():
                raise ValueError(f"{modality[:40]!r} cannot name vectors")
            if not isinstance(d, int) or isinstance(d, bool) or not 0 < d <= LARGEST:
                raise ValueError(f"{modality} has dimension {str(d)[:40]!r}")

    def code_hint(self, other: EncoderCard) -> str:
        """For a message: that the file of an encoder of the user's own has changed, or nothing."""
        was, now = self.extra.get("code"), other.extra.get("code")
        if not isinstance(was, dict) or not isinstance(now, dict) or was == now:
            return ""
        if was.get("name") != now.get("name"):
            return ""
        return f"the code of {now.get('name')} has changed (its SHA-256 is another); "

    def differences(self, other: EncoderCard) -> list[str]:
        """Names of the fields that make vectors of the two cards incomparable.

        The name given on the command line and the file's own checksum do not: the same
        parameters reached by another way give the same vectors.
        """
        ignored = {"name", "weights", "weights_sha256"} if self.parameters_sha256 else {"name"}
        mine, theirs = asdict(self), asdict(other)
        return [key for key in mine if key not in ignored and mine[key] != theirs[key]]
