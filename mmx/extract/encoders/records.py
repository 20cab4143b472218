"""The encoders that ``mmx encoders`` lists: plain records, to be read and extended.

A record describes; it does not switch anything on. Every architecture that the libraries know
can be named, whether it is listed or not. Sizes are those of the parameters in float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

CPU_ONLY = ("toy",)  # encoders that no GPU speeds up
MINI = Path(__file__).parents[1] / "mini"  # an open_clip directory
DEFAULT_CLIP = "ViT-B-16/openai"  # what "clip" is

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


@dataclass(frozen=True, kw_only=True)
class EncoderRecord:
    """What one encoder is, to choose by."""

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
        """What is before the colon."""
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
    """The encoder that mmx ships; its sizes are in its own configuration."""
    config = MINI / "open_clip_config.json"
    if not config.is_file():
        return []
    facts = json.loads(config.read_text(encoding="utf-8"))["model_cfg"]
    size = sum(path.stat().st_size for path in MINI.glob("*.safetensors"))
    return [
        EncoderRecord(
            spec="clip:mini", library="open_clip", dimensions=_both(facts["embed_dim"]),
            pixels=facts["vision_cfg"]["image_size"], tokens=facts["text_cfg"]["context_length"],
            megabytes=round(size / 1e6),
            about="shipped with mmx for its demo: knows the drawn products only", citation=CLIP,
            licence="Apache-2.0",
        )
    ]  # fmt: skip


_RECORDS = [
    EncoderRecord(
        spec="clip", library="open_clip", dimensions=_both(512), pixels=224, tokens=77,
        megabytes=598, about="the default: clip:ViT-B-16/openai", citation=CLIP, licence="MIT",
    ),
    *_mini(),
    EncoderRecord(
        spec="clip:ViT-B-32/laion2b_s34b_b79k", library="open_clip", dimensions=_both(512),
        pixels=224, tokens=77, megabytes=605,
        about="a quarter of the image tokens of ViT-B-16, so quicker", citation=OPENCLIP,
        licence="MIT",
    ),
    EncoderRecord(
        spec="clip:ViT-L-14/openai", library="open_clip", dimensions=_both(768), pixels=224,
        tokens=77, megabytes=1710, about="the large one of the first CLIP", citation=CLIP,
        licence="MIT",
    ),
    EncoderRecord(
        spec="clip:ViT-B-16-SigLIP/webli", library="open_clip", dimensions=_both(768), pixels=224,
        tokens=64, megabytes=813, about="sigmoid loss; its tokenizer comes from the hub",
        citation=SIGLIP, licence="Apache-2.0", options=("tokenizer",),
    ),
    EncoderRecord(
        spec="clip:hf:openai/clip-vit-base-patch16", library="transformers", dimensions=_both(512),
        pixels=224, tokens=77, megabytes=598,
        about="any CLIP or SigLIP in the Hugging Face layout, on the hub or in a directory",
        citation=CLIP, licence="MIT",
    ),
    EncoderRecord(
        spec="timm:resnet50.a1_in1k", library="timm", dimensions={"image": 2048}, pixels=224,
        tokens=None, megabytes=94,
        about="the usual image baseline, a good recipe; any timm:ARCH[.TAG]", citation=TIMM,
        licence="Apache-2.0",
    ),
    EncoderRecord(
        spec="timm:convnext_tiny.in12k_ft_in1k", library="timm", dimensions={"image": 768},
        pixels=224, tokens=None, megabytes=111,
        about="a convolutional network of the size of ResNet-50", citation=CONVNEXT,
        licence="Apache-2.0",
    ),
    EncoderRecord(
        spec="timm:vit_small_patch14_dinov2.lvd142m", library="timm", dimensions={"image": 384},
        pixels=518, tokens=None, megabytes=88,
        about="self-supervised, no labels; --image-size 224 is much quicker", citation=DINOV2,
        licence="Apache-2.0",
    ),
    EncoderRecord(
        spec="torchvision:resnet50", library="torchvision", dimensions={"image": 2048}, pixels=224,
        tokens=None, megabytes=94,
        about="any torchvision:ARCH[.TAG]; IMAGENET1K_V2 weights by default", citation=RESNET,
        licence="BSD-3-Clause",
    ),
    EncoderRecord(
        spec="torchvision:vgg16", library="torchvision", dimensions={"image": 4096}, pixels=224,
        tokens=None, megabytes=537,
        about="the second fully connected layer, as in much older work", citation=VGG,
        licence="BSD-3-Clause",
    ),
    EncoderRecord(
        spec="torchvision:squeezenet1_0", library="torchvision", dimensions={"image": 512},
        pixels=224, tokens=None, megabytes=3, about="very small; the mean of the last feature map",
        citation=SQUEEZENET, licence="BSD-3-Clause",
    ),
    EncoderRecord(
        spec="sbert:all-MiniLM-L6-v2", library="sentence-transformers", dimensions={"text": 384},
        pixels=None, tokens=256, megabytes=91,
        about="the usual text baseline; any sbert:NAME_OR_PATH", citation=SBERT,
        licence="Apache-2.0",
    ),
    EncoderRecord(
        spec="sbert:all-mpnet-base-v2", library="sentence-transformers", dimensions={"text": 768},
        pixels=None, tokens=384, megabytes=438, about="better and slower", citation=SBERT,
        licence="Apache-2.0",
    ),
    EncoderRecord(
        spec="vlmo", library="mmx", dimensions=_all(544), pixels=224, tokens=40, megabytes=740,
        about="vlmo:base_plus, one network for images, texts and pairs", citation=VLMO,
        licence="MIT", options=_OF_VLMO,
    ),
    EncoderRecord(
        spec="vlmo:base", library="mmx", dimensions=_all(768), pixels=224, tokens=40,
        megabytes=810, about="wider and less deep, relative positions", citation=VLMO,
        licence="MIT", options=_OF_VLMO,
    ),
    EncoderRecord(
        spec="vlmo:large", library="mmx", dimensions=_all(1024), pixels=224, tokens=40,
        megabytes=2396, about="the large one", citation=VLMO, licence="MIT", options=_OF_VLMO,
    ),
    *(
        EncoderRecord(
            spec=f"vlmo:{size}_384_{task}", library="mmx", dimensions=_both(d), pixels=384,
            tokens=40, megabytes=megabytes,
            about=f"fine-tuned for retrieval on {name}; no fused pass", citation=VLMO,
            licence="MIT", options=_OF_VLMO,
        )
        for size, d, megabytes in (
            ("base_plus", 544, 740), ("base", 768, 810), ("large", 1024, 2396),
        )
        for task, name in (("coco", "COCO"), ("f30k", "Flickr30K"))
    ),
    EncoderRecord(
        spec="toy", library="mmx", dimensions=_both(8), pixels=8, tokens=64, megabytes=0,
        about="colours and letter counts: for tests and first steps, no torch", citation="none",
        licence="Apache-2.0",
    ),
]  # fmt: skip

ENCODERS: dict[str, EncoderRecord] = {record.spec: record for record in _RECORDS}
