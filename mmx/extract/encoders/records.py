"""The encoders that ``mmx encoders`` lists: plain records, to be read and extended.

A record describes; it does not switch anything on. Every architecture that the libraries know
can be named, whether it is listed or not. Sizes are those of the parameters in float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

MINI = Path(__file__).parents[1] / "mini"  # an open_clip directory

CLIP = "Radford et al., Learning Transferable Visual Models from Language, ICML 2021"
OPENCLIP = "Cherti et al., Reproducible Scaling Laws for Contrastive Learning, CVPR 2023"
SIGLIP = "Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023"
TIMM = "Wightman et al., ResNet Strikes Back, NeurIPS 2021 Workshop ImageNet PPF"
DINOV2 = "Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024"
CONVNEXT = "Liu et al., A ConvNet for the 2020s, CVPR 2022"
RESNET = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016"
VGG = "Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015"
SQUEEZENET = "Iandola et al., SqueezeNet: AlexNet-level Accuracy, arXiv 1602.07360, 2016"
SBERT = "Reimers and Gurevych, Sentence-BERT, EMNLP 2019"
VLMO = "Bao et al., VLMo: Unified Vision-Language Pre-Training, NeurIPS 2022"


@dataclass(frozen=True)
class EncoderRecord:
    """What one encoder is, for the person who chooses."""

    spec: str  # what --model takes
    library: str
    dimensions: dict[str, int]  # modality → d, in store order; empty: depends on what is named
    pixels: int | None  # side of the square it sees; None without pictures, or where it depends
    tokens: int | None  # text limit, special tokens included; None without texts
    megabytes: int | None  # of parameters in float32; None where it depends
    about: str
    citation: str
    licence: str  # of the weights
    options: tuple[str, ...] = field(default=())  # options of its own

    @property
    def family(self) -> str:
        """What stands before the colon."""
        return self.spec.partition(":")[0].partition("[")[0]

    @property
    def modalities(self) -> tuple[str, ...]:
        """In store order."""
        return tuple(self.dimensions)


def _both(d: int) -> dict[str, int]:
    return {"image": d, "text": d}


def _all(d: int) -> dict[str, int]:
    return {"image": d, "text": d, "fused": d}


_OF_VLMO = ("head", "tokenizer", "image_size")


def _mini() -> list[EncoderRecord]:
    """The encoder that mmx ships; its sizes stand in its own configuration."""
    config = MINI / "open_clip_config.json"
    if not config.is_file():
        return []
    facts = json.loads(config.read_text(encoding="utf-8"))["model_cfg"]
    size = sum(path.stat().st_size for path in MINI.glob("*.safetensors"))
    return [
        EncoderRecord(
            "clip:mini", "open_clip", _both(facts["embed_dim"]),
            facts["vision_cfg"]["image_size"], facts["text_cfg"]["context_length"],
            round(size / 1e6),
            "shipped with mmx for its demo: knows the drawn products only", CLIP, "Apache-2.0",
        )
    ]  # fmt: skip


_RECORDS = [
    EncoderRecord(
        "clip", "open_clip", _both(512), 224, 77, 598,
        "the default: clip:ViT-B-16/openai", CLIP, "MIT",
    ),
    *_mini(),
    EncoderRecord(
        "clip:ViT-B-32/laion2b_s34b_b79k", "open_clip", _both(512), 224, 77, 605,
        "a quarter of the image tokens of ViT-B-16, so quicker", OPENCLIP, "MIT",
    ),
    EncoderRecord(
        "clip:ViT-L-14/openai", "open_clip", _both(768), 224, 77, 1710,
        "the large one of the first CLIP", CLIP, "MIT",
    ),
    EncoderRecord(
        "clip:ViT-B-16-SigLIP/webli", "open_clip", _both(768), 224, 64, 813,
        "sigmoid loss; its tokenizer comes from the hub", SIGLIP, "Apache-2.0", ("tokenizer",),
    ),
    EncoderRecord(
        "clip:hf:openai/clip-vit-base-patch16", "transformers", _both(512), 224, 77, 598,
        "any CLIP or SigLIP in the Hugging Face layout, on the hub or in a directory", CLIP, "MIT",
    ),
    EncoderRecord(
        "timm:resnet50.a1_in1k", "timm", {"image": 2048}, 224, None, 94,
        "the usual image baseline, a good recipe; any timm:ARCH[.TAG]", TIMM, "Apache-2.0",
    ),
    EncoderRecord(
        "timm:convnext_tiny.in12k_ft_in1k", "timm", {"image": 768}, 224, None, 111,
        "a convolutional network of the size of ResNet-50", CONVNEXT, "Apache-2.0",
    ),
    EncoderRecord(
        "timm:vit_small_patch14_dinov2.lvd142m", "timm", {"image": 384}, 518, None, 88,
        "self-supervised, no labels; --image-size 224 is much quicker", DINOV2, "Apache-2.0",
    ),
    EncoderRecord(
        "torchvision:resnet50", "torchvision", {"image": 2048}, 224, None, 94,
        "any torchvision:ARCH[.TAG]; IMAGENET1K_V2 weights by default", RESNET, "BSD-3-Clause",
    ),
    EncoderRecord(
        "torchvision:vgg16", "torchvision", {"image": 4096}, 224, None, 537,
        "the second fully connected layer, as in much older work", VGG, "BSD-3-Clause",
    ),
    EncoderRecord(
        "torchvision:squeezenet1_0", "torchvision", {"image": 512}, 224, None, 3,
        "very small; the mean of the last feature map", SQUEEZENET, "BSD-3-Clause",
    ),
    EncoderRecord(
        "sbert:all-MiniLM-L6-v2", "sentence-transformers", {"text": 384}, None, 256, 91,
        "the usual text baseline; any sbert:NAME_OR_PATH", SBERT, "Apache-2.0",
    ),
    EncoderRecord(
        "sbert:all-mpnet-base-v2", "sentence-transformers", {"text": 768}, None, 384, 438,
        "better and slower", SBERT, "Apache-2.0",
    ),
    EncoderRecord(
        "vlmo", "mmx", _all(544), 224, 40, 740,
        "vlmo:base_plus, one network for images, texts and pairs", VLMO, "MIT", _OF_VLMO,
    ),
    EncoderRecord(
        "vlmo:base", "mmx", _all(768), 224, 40, 810,
        "wider and less deep, relative positions", VLMO, "MIT", _OF_VLMO,
    ),
    EncoderRecord(
        "vlmo:large", "mmx", _all(1024), 224, 40, 2396, "the large one", VLMO, "MIT", _OF_VLMO,
    ),
    *(
        EncoderRecord(
            f"vlmo:{size}_384_{task}", "mmx", _both(d), 384, 40, megabytes,
            f"fine-tuned for retrieval on {name}; no fused pass", VLMO, "MIT", _OF_VLMO,
        )
        for size, d, megabytes in (
            ("base_plus", 544, 740), ("base", 768, 810), ("large", 1024, 2396),
        )
        for task, name in (("coco", "COCO"), ("f30k", "Flickr30K"))
    ),
    EncoderRecord(
        "toy", "mmx", _both(8), 8, 64, 0,
        "colours and letter counts: for tests and first steps, no torch", "none", "Apache-2.0",
    ),
]  # fmt: skip

ENCODERS: dict[str, EncoderRecord] = {record.spec: record for record in _RECORDS}


def listing() -> list[EncoderRecord]:
    """All records, in the order in which they are shown."""
    return list(ENCODERS.values())
