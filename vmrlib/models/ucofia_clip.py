"""CLIP as UCoFiA uses it: every token projected, and in two blocks tokens of neighbouring frames exchanged.

The exchange (token shift, from TS2-Net) lets attention in blocks 10 and 11 see the frames before and after:
a seventh of the tokens of a frame are taken from the one before, a seventh from the one after, only in what
attention reads, not in what passes by it (section 2.1 of the specification).
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from vmrlib.models.clip import Clip
from vmrlib.models.ucofia_config import ClipSizes

# Not trained in the released runs: embeddings of words, patches and positions, and the norm after them.
FROZEN = ("embeddings.", "pre_layrnorm.")


# Sizes as transformers calls them, and as `ClipSizes` does.
VISION = {
    "hidden_size": "vision_width",
    "num_hidden_layers": "vision_layers",
    "num_attention_heads": "vision_heads",
    "image_size": "image_size",
    "patch_size": "patch_size",
}
TEXT = {
    "hidden_size": "text_width",
    "num_hidden_layers": "text_layers",
    "num_attention_heads": "text_heads",
    "max_position_embeddings": "context",
    "vocab_size": "vocabulary",
}


def build_clip(sizes: ClipSizes, dim: int, frames: int) -> Clip:
    """A CLIP of these sizes with fresh weights; its images are `frames` in a row of each video."""
    vision, text = (
        {theirs: getattr(sizes, ours) for theirs, ours in names.items()} for names in (VISION, TEXT)
    )
    for tower in (vision, text):
        tower["intermediate_size"] = 4 * tower["hidden_size"]
    signs = {"bos_token_id": sizes.vocabulary - 2, "eos_token_id": sizes.vocabulary - 1}
    text |= signs | {"pad_token_id": 0}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=dim)
    clip = Clip(CLIPModel(config), None)
    shift_blocks(clip, sizes.shifts, frames)
    for name, parameter in clip.named_parameters():
        parameter.requires_grad_(not any(part in name for part in FROZEN))
    return clip


def expect_same_sizes(ours: Clip, theirs: Clip) -> None:
    """Raises ValueError for a CLIP of other sizes than ours, whose weights ours is to have; it names them."""
    different = [
        f"clip.{name} is {getattr(mine, key)}, but {getattr(other, key)} in the CLIP to begin with"
        for tower, names in (("vision_config", VISION), ("text_config", TEXT))
        for mine, other in [(getattr(ours.model.config, tower), getattr(theirs.model.config, tower))]
        for key, name in names.items()
        if getattr(mine, key) != getattr(other, key)
    ]
    if ours.dim != theirs.dim:
        different.append(f"dim is {ours.dim}, but {theirs.dim} in the CLIP to begin with")
    if different:
        raise ValueError("; ".join(different))


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
