"""Sizes and constants of UCoFiA and of the CLIP inside of it; reading them does not load transformers."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmrlib.data.stage.captions import vocabulary
from vmrlib.models.ucofia_selection import SAMPLES, SCORERS, SIGMA

if TYPE_CHECKING:
    from vmrlib.models.ucofia import UCoFiA

VIT_B_32 = "openai/clip-vit-base-patch32"


@dataclass(frozen=True)
class ClipSizes:
    """Sizes of a CLIP, by default of ViT-B/32. `shifted`: blocks of the image side that see neighbours."""

    image_size: int = 224
    patch_size: int = 32
    vision_width: int = 768
    vision_heads: int = 12
    vision_layers: int = 12
    text_width: int = 512
    text_heads: int = 8
    text_layers: int = 12
    vocabulary: int = 49408
    context: int = 77
    shifted: tuple[int, ...] = (10, 11)

    def __post_init__(self):
        for tower in ("vision", "text"):
            width, heads = getattr(self, f"{tower}_width"), getattr(self, f"{tower}_heads")
            if heads < 1 or width % heads:
                raise ValueError(f"{tower}_width {width} is no multiple of {tower}_heads {heads}")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}")
        if self.shifts and self.tokens < 7:
            raise ValueError(f"shifted: {self.tokens} tokens a frame are too few, 7 are needed")

    @property
    def tokens(self) -> int:
        """Of a frame: its patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1

    @property
    def shifts(self) -> tuple[int, ...]:
        """The shifted blocks that there are: none in a CLIP of fewer than 11 blocks."""
        return tuple(block for block in self.shifted if block < self.vision_layers)

    @classmethod
    def stage(cls, **changes) -> "ClipSizes":
        """The tiny CLIP of Stage, whose last block sees neighbours; its words are Stage's and four signs."""
        values = {"image_size": 64, "patch_size": 16, "vocabulary": len(vocabulary()) + 4, "context": 24}
        for tower in ("vision", "text"):
            values |= {f"{tower}_width": 96, f"{tower}_heads": 4, f"{tower}_layers": 2}
        return cls(**(values | {"shifted": (1,)} | changes))


@dataclass(frozen=True)
class UCoFiAConfig:
    """Sizes and constants of one model. Published: `msrvtt()`; `activitynet()` and `didemo()` are less sure.

    frames: F of every video. words: W token slots of every text; padding is compared like a word.
    dim: D of the joint space. patches: chosen in every frame, besides the class token.
    heads, layers, positions: of the temporal encoder; length of its position table.
    scorer: `frame` (trained, released weights) or `video` (first release, text-to-video evaluation).
    samples, sigma: draws of noise for the choice of patches, and their standard deviation.
    temperature: of all softmaxes of the interactions.
    noisy_evaluation: noise out of training, too, as released; without it the best patches themselves.
    patch_map_in_evaluation: patches times L1 out of training, too; the released evaluation leaves L1 out.
    block: so many texts and videos are compared at a time; memory grows with its square. None: as many as
    suit the device.
    clip: sizes of the CLIP that is trained along, or None: batches bring its features.
    pretrained: the CLIP that a training begins with: `stage`, a hub id or a folder; None: fresh weights.
    clip_share: of the learning rate, for CLIP. weight_decay: of everything but biases.
    """

    frames: int
    words: int
    dim: int = 512
    patches: int = 3
    heads: int = 8
    layers: int = 4
    positions: int = 77
    scorer: str = "frame"
    samples: int = SAMPLES
    sigma: float = SIGMA
    temperature: float = 0.01
    noisy_evaluation: bool = False
    patch_map_in_evaluation: bool = True
    block: int | None = None
    clip: ClipSizes | None = field(default_factory=ClipSizes)
    pretrained: str | None = None
    clip_share: float = 1e-3
    weight_decay: float = 0.2

    def __post_init__(self):
        for name in ("frames", "words", "dim", "patches", "heads", "samples", "sigma", "temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected a number above 0, found {getattr(self, name)}")
        if self.block is not None and self.block < 1:
            raise ValueError(f"block: expected a number above 0, found {self.block}")
        for name in ("layers", "clip_share", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is no multiple of heads {self.heads}")
        if self.frames > self.positions:
            raise ValueError(f"frames {self.frames} exceed the {self.positions} positions")
        if self.scorer not in SCORERS:
            raise ValueError(f"scorer: expected one of {', '.join(SCORERS)}, found {self.scorer!r}")
        if self.clip and self.words > self.clip.context:
            raise ValueError(f"words {self.words} exceed CLIP's context of {self.clip.context}")
        if self.clip and self.patches >= self.clip.tokens:
            raise ValueError(f"patches {self.patches} exceed CLIP's {self.clip.tokens - 1} of a frame")

    @property
    def vectors(self) -> int:
        """P, patch vectors of a video: class token and patches of every frame."""
        return self.frames * (1 + self.patches)

    @property
    def title(self) -> str:
        """The model's name in tables."""
        return "UCoFiA"

    def build(self) -> "UCoFiA":
        """The model of this configuration, with fresh weights."""
        from vmrlib.models.ucofia import UCoFiA  # with it comes transformers, which takes seconds to load

        return UCoFiA(self)

    @classmethod
    def msrvtt(cls, **changes) -> "UCoFiAConfig":
        """As released for MSR-VTT and VATEX: ViT-B/32, 12 frames, 32 word slots."""
        return cls(**({"frames": 12, "words": 32, "pretrained": VIT_B_32} | changes))

    @classmethod
    def activitynet(cls, **changes) -> "UCoFiAConfig":
        """64 frames and word slots, as X-CLIP for paragraphs; UCoFiA's own numbers are not published."""
        return cls(**({"frames": 64, "words": 64, "pretrained": VIT_B_32} | changes))

    @classmethod
    def didemo(cls, **changes) -> "UCoFiAConfig":
        """As for ActivityNet, with the same doubt."""
        return cls.activitynet(**changes)

    @classmethod
    def stage(cls, **changes) -> "UCoFiAConfig":
        """For Stage and its tiny CLIP (96 numbers, 16 patches), which has seen no motion before."""
        values = {"frames": 8, "words": 20, "dim": 96, "heads": 4, "layers": 2, "positions": 24}
        values |= {"samples": 100, "clip": ClipSizes.stage(), "pretrained": "stage"}
        return cls(**(values | {"clip_share": 0.3, "weight_decay": 0.01} | changes))
