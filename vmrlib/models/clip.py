"""CLIP (Radford et al. 2021): frames, patches, sentences and words in one joint space.

One class for every size: a published ViT-B/32 from a hub id or a folder, the authors' own state dict,
and the tiny model that was trained on Stage frames. The network is transformers' `CLIPModel`.
"""

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from vmrlib.data.files import put, write_text
from vmrlib.features.pixels import CLIP_NORMALISATION, to_pixels
from vmrlib.models.openai_clip import WeightsError, from_openai_state_dict
from vmrlib.text import plain_words

STAGE_FOLDER = Path(__file__).parent.parent / "data" / "stage" / "weights"
STAGE_WEIGHTS = "stage_clip.safetensors"
STAGE_DIM = 96
STAGE_TOWER = {
    "hidden_size": STAGE_DIM,
    "intermediate_size": 4 * STAGE_DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "projection_dim": STAGE_DIM,
}
STAGE_VISION = STAGE_TOWER | {"image_size": 64, "patch_size": 16}
STAGE_TEXT = STAGE_TOWER | {"max_position_embeddings": 24}


class WordTokenizer:
    """One token per lower-case word of a fixed list; any other word is `<unknown>`.

    Ids: 0 `<pad>`, 1 `<unknown>`, 2 `<start>`, then the words in their order, and last, as CLIP has it,
    `<end>` with the largest id of all.
    """

    pad, unknown, start = 0, 1, 2

    def __init__(self, words: Sequence[str]):
        self.words = tuple(words)
        self.ids = {word: index for index, word in enumerate(self.words, 3)}
        if len(self.ids) != len(self.words):
            raise WeightsError("vocabulary: a word occurs twice")
        self.end = len(self.words) + 3

    def __len__(self) -> int:
        return len(self.words) + 4

    def encode(self, text: str, length: int) -> list[int]:
        """Ids of `<start>`, at most `length` - 2 words, `<end>`."""
        words = [self.ids.get(word, self.unknown) for word in plain_words(text)]
        return [self.start, *words[: length - 2], self.end]


class BytePairTokenizer:
    """CLIP's byte-pair encoding, through transformers' tokenizer."""

    def __init__(self, tokenizer: CLIPTokenizer):
        self.tokenizer = tokenizer

    def encode(self, text: str, length: int) -> list[int]:
        """Ids of start, at most `length` - 2 tokens, end."""
        return self.tokenizer(text, truncation=True, max_length=length)["input_ids"]

    @classmethod
    def load(cls, source: str | Path) -> "BytePairTokenizer | None":
        """Tokenizer of a hub id or a folder; None for a folder that has none (it can still encode frames)."""
        folder = Path(source)
        if folder.is_dir() and not any(
            (folder / name).is_file() for name in ("tokenizer.json", "vocab.json")
        ):
            return None
        return cls(CLIPTokenizer.from_pretrained(source))

    @classmethod
    def from_merges(cls, path: str | Path) -> "BytePairTokenizer":
        """Tokenizer from OpenAI's `bpe_simple_vocab_16e6.txt.gz`.

        The vocabulary is 256 byte characters, the same with `</w>`, one token per merge, start and end.
        """
        lines = gzip.decompress(Path(path).read_bytes()).decode("utf-8").split("\n")
        merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        letters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
        tokens = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges]
        tokens += ["<|startoftext|>", "<|endoftext|>"]
        return cls(CLIPTokenizer({token: index for index, token in enumerate(tokens)}, merges))


@dataclass(frozen=True)
class ImageFeatures:
    """`frame` is the class token and `patch` the others, row by row; both projected, not normalised."""

    frame: Float[Tensor, "B D"]
    patch: Float[Tensor, "B P D"]


@dataclass(frozen=True)
class TextFeatures:
    """`sentence` is the state of the end token, `word` of every token; projected, not normalised.

    `mask` is True from the start token to the end token, both included.
    """

    sentence: Float[Tensor, "B D"]
    word: Float[Tensor, "B L D"]
    mask: Bool[Tensor, "B L"]


class Clip(nn.Module):
    """Image and text encoder with a joint space of `dim` features; frames are `size` x `size` pixels."""

    def __init__(self, model: CLIPModel, tokenizer: WordTokenizer | BytePairTokenizer | None):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.dim: int = model.config.projection_dim
        self.size: int = model.config.vision_config.image_size
        self.context: int = model.config.text_config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """Factor of the cosines in the logits: exp of the learnt parameter."""
        return self.model.logit_scale.exp()

    def preprocess(self, frames: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 S S"]:
        """Pixels on the model's device: resized, cropped to the centre square, normalised."""
        return to_pixels(frames.to(self.device), self.size, CLIP_NORMALISATION)

    def tokenize(self, texts: Sequence[str], length: int | None = None) -> Int[Tensor, "B L"]:
        """Token ids on the model's device, padded with 0 to `length`, else to the longest text.

        A text too long for `length` (or the context) loses its last words, never the end token.
        """
        if self.tokenizer is None:
            raise WeightsError("this CLIP model has no tokenizer: it can only encode frames")
        if length is not None and not 2 <= length <= self.context:
            raise ValueError(f"length {length} is not within 2..{self.context}, the context of this model")
        rows = [self.tokenizer.encode(text, length or self.context) for text in texts]
        width = length or max(map(len, rows))
        return torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.device)

    def encode_images(self, pixels: Float[Tensor, "B 3 S S"]) -> ImageFeatures:
        """Frame and patch features of preprocessed pixels.

        Final layer norm and projection are applied to every token, as UCoFiA does.
        """
        states = self.model.vision_model(pixel_values=pixels).last_hidden_state
        tokens = self.model.visual_projection(self.model.vision_model.post_layernorm(states))  # (B, 1 + P, D)
        return ImageFeatures(tokens[:, 0], tokens[:, 1:])

    def encode_text(self, ids: Int[Tensor, "B L"]) -> TextFeatures:
        """Sentence and word features of token ids.

        Attention is causal, so padding changes no word before it. The end token has the largest id.
        """
        words = self.model.text_projection(self.model.text_model(input_ids=ids).last_hidden_state)
        end = ids.argmax(dim=1)
        mask = torch.arange(ids.shape[1], device=ids.device) <= end[:, None]
        return TextFeatures(words[torch.arange(len(ids), device=ids.device), end], words, mask)

    def encode_frames(self, frames: UInt8[Tensor, "B H W 3"]) -> ImageFeatures:
        """Frame and patch features of uint8 frames of any size."""
        return self.encode_images(self.preprocess(frames))

    def encode_sentences(self, texts: Sequence[str], length: int | None = None) -> TextFeatures:
        """Sentence and word features of plain text."""
        return self.encode_text(self.tokenize(texts, length))

    def forward(self, pixels: Float[Tensor, "N 3 S S"], ids: Int[Tensor, "M L"]) -> dict[str, Tensor]:
        """Features of images and texts and their similarities.

        frame (N, D), patch (N, P, D), sentence (M, D), word (M, L, D), mask (M, L) as in `ImageFeatures`
        and `TextFeatures`; logits (N, M), cosines of frames and sentences times `logit_scale`.
        """
        images, texts = self.encode_images(pixels), self.encode_text(ids)
        cosines = F.normalize(images.frame, dim=-1) @ F.normalize(texts.sentence, dim=-1).T
        return vars(images) | vars(texts) | {"logits": self.logit_scale * cosines}

    @classmethod
    def untrained_stage(cls, vocabulary: Sequence[str]) -> "Clip":
        """Tiny model for 64 px Stage frames (4 x 4 patches), random weights, these words."""
        tokenizer = WordTokenizer(vocabulary)
        text = STAGE_TEXT | {
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad,
            "bos_token_id": tokenizer.start,
            "eos_token_id": tokenizer.end,
        }
        config = CLIPConfig(text_config=text, vision_config=STAGE_VISION, projection_dim=STAGE_DIM)
        model = CLIPModel(config)
        _start_from_coordinates(model.vision_model.embeddings.position_embedding.weight)
        return cls(model, tokenizer)

    @classmethod
    def stage(cls) -> "Clip":
        """The tiny model trained on Stage frames, with the weights that come with the package."""
        return cls.from_folder(STAGE_FOLDER, STAGE_WEIGHTS)

    @classmethod
    def load(cls, source: str | Path) -> "Clip":
        """Model of a folder (ours or transformers') or of a hub id, float32, in eval mode."""
        if (Path(source) / "vocabulary.json").is_file():
            return cls.from_folder(source)
        try:
            model = CLIPModel.from_pretrained(source, dtype=torch.float32)
            tokenizer = BytePairTokenizer.load(source)
        except (OSError, ValueError) as error:
            reason = str(error).strip().split("\n")[0]
            raise WeightsError(
                f"{source}: neither a CLIP folder nor a reachable hub id ({reason})"
            ) from error
        return cls(model, tokenizer).eval()

    @classmethod
    def from_folder(cls, folder: str | Path, weights: str = "model.safetensors") -> "Clip":
        """Model saved by `save`, float32, in eval mode."""
        folder = Path(folder)
        for name in ("config.json", "vocabulary.json", weights):
            if not (folder / name).is_file():
                raise WeightsError(f"{folder / name}: missing")
        config = CLIPConfig.from_dict(_read_json(folder / "config.json", dict))
        tokenizer = WordTokenizer(_read_json(folder / "vocabulary.json", list))
        if config.text_config.vocab_size != len(tokenizer):
            raise WeightsError(
                f"{folder / 'vocabulary.json'}: {len(tokenizer)} tokens, "
                f"the configuration has {config.text_config.vocab_size}"
            )
        return cls(_with_weights(config, _read_weights(folder / weights), folder / weights), tokenizer).eval()

    def save(self, folder: str | Path, weights: str = "model.safetensors") -> None:
        """Write configuration, vocabulary and half-precision weights: a folder transformers reads, too."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: value.detach().half().contiguous().cpu() for name, value in self.model.state_dict().items()
        }
        save_file(state, folder / (weights + ".part"), metadata={"format": "pt"})
        put(folder / (weights + ".part"), folder / weights)
        texts = {"config.json": self.model.config.to_json_string()}
        if isinstance(self.tokenizer, WordTokenizer):
            texts["vocabulary.json"] = json.dumps(self.tokenizer.words, indent=0) + "\n"
        elif self.tokenizer is not None:
            self.tokenizer.tokenizer.save_pretrained(folder)
        for name, text in texts.items():
            write_text(folder / name, text)

    @classmethod
    def from_openai(
        cls,
        state_dict: dict[str, Tensor],
        tokenizer: BytePairTokenizer | None = None,
        vision_heads: int | None = None,
        text_heads: int | None = None,
    ) -> "Clip":
        """Model with weights named as in OpenAI's code (and UCoFiA's checkpoints, `clip.` in front).

        Sizes are read from the weights; heads default to OpenAI's rule, width / 64.
        """
        state, config = from_openai_state_dict(state_dict, vision_heads, text_heads)
        return cls(_with_weights(config, state, "state dict"), tokenizer).eval()


def _read_json(path: Path, kind: type):
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(value, kind):
        raise WeightsError(f"{path}: holds a {type(value).__name__}, expected a {kind.__name__}")
    return value


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path}: not a safetensors file ({error})") from error


def _start_from_coordinates(positions: Float[Tensor, "1+P D"]) -> None:
    """Lets position embeddings begin as x * u + y * v with random u and v, and a little noise.

    From sixteen unrelated vectors a tiny model needs thousands of steps to learn what left and right are.
    """
    side = math.isqrt(len(positions) - 1)
    steps = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    with torch.no_grad():
        directions = torch.randn(2, positions.shape[1])
        noise = 0.1 * torch.randn(side * side, positions.shape[1])
        positions[0] = 0  # the class token has no place
        positions[1:] = torch.stack([x.flatten(), y.flatten()], dim=1) @ directions + noise


def _with_weights(config: CLIPConfig, state: dict[str, Tensor], source: str | Path) -> CLIPModel:
    with torch.random.fork_rng(devices=[]):  # the random start is overwritten: draw nothing from the caller
        model = CLIPModel(config)
    try:
        model.load_state_dict({name: value.float() for name, value in state.items()})
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[1].strip()
        raise WeightsError(f"{source}: weights do not fit the configuration ({reason})") from error
    return model
