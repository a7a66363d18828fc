"""CLIP as UCoFiA uses it: every token projected, and in two blocks tokens of neighbouring frames exchanged.

The exchange (token shift, from TS2-Net) lets attention in blocks 10 and 11 see the frames before and after:
a seventh of the tokens of a frame are taken from the one before, a seventh from the one after, only in what
attention reads, not in what passes by it (section 2.1 of the specification).
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from vmrlib.models.clip import Clip

# Not trained in the released runs: embeddings of words, patches and positions, and the norm after them.
FROZEN = ("embeddings.", "pre_layrnorm.")


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

    def build(self, dim: int, frames: int) -> Clip:
        """A CLIP of these sizes with fresh weights; its images are `frames` in a row of each video."""
        vision = {
            "hidden_size": self.vision_width,
            "intermediate_size": 4 * self.vision_width,
            "num_hidden_layers": self.vision_layers,
            "num_attention_heads": self.vision_heads,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
        }
        text = {
            "hidden_size": self.text_width,
            "intermediate_size": 4 * self.text_width,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": self.text_heads,
            "max_position_embeddings": self.context,
            "vocab_size": self.vocabulary,
            "pad_token_id": 0,
            "bos_token_id": self.vocabulary - 2,
            "eos_token_id": self.vocabulary - 1,
        }
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=dim)
        clip = Clip(CLIPModel(config), None)
        shift_blocks(clip, self.shifts, frames)
        for name, parameter in clip.named_parameters():
            parameter.requires_grad_(not any(part in name for part in FROZEN))
        return clip


def shift_tokens(tokens: Float[Tensor, "BF T D"], frames: int) -> Float[Tensor, "BF T D"]:
    """Tokens of which some are those of the frame before, some those of the frame after.

    With t = T // 7: tokens 1, 1 + t, ... come from the frame before, 4, 4 + t, ... from the one after, which
    wins where both would. The first frame has none before it and keeps its own, so does the last.
    """
    step = tokens.shape[1] // 7
    rows = tokens.unflatten(0, (-1, frames))
    shifted = rows.clone()
    shifted[:, 1:, 1::step] = rows[:, :-1, 1::step]
    shifted[:, :-1, 4::step] = rows[:, 1:, 4::step]
    return shifted.flatten(0, 1)


def shift_blocks(clip: Clip, numbers: tuple[int, ...], frames: int) -> None:
    """Lets attention in these blocks of the image side read shifted tokens; names of weights stay."""
    for number in numbers:
        attention = clip.model.vision_model.encoder.layers[number].self_attn
        attention.register_forward_pre_hook(partial(_shift_input, frames=frames), with_kwargs=True)


def _shift_input(module: nn.Module, args: tuple, kwargs: dict, frames: int) -> tuple[tuple, dict]:
    if args:
        return (shift_tokens(args[0], frames), *args[1:]), kwargs
    return args, kwargs | {"hidden_states": shift_tokens(kwargs["hidden_states"], frames)}


def video_tokens(clip: Clip, pixels: Float[Tensor, "B F 3 S S"]) -> Float[Tensor, "B F T D"]:
    """Projected tokens of all frames, the class token first; not normalised."""
    images = clip.encode_images(pixels.flatten(0, 1))
    return torch.cat([images.frame[:, None], images.patch], dim=1).unflatten(0, pixels.shape[:2])
