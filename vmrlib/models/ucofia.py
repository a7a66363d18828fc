"""UCoFiA (ICCV 2023): text and video compared coarsely, frame by frame, and patch by word.

Read beside the paper and the code its authors released (snapshot 6098be2), which has three trees that differ;
this is the training tree, and what the evaluation trees do otherwise are fields of the configuration.

    frames, words -> CLIP -> tokens of every frame, of every word
    tokens -> patch selection -> class token and 3 soft patches of every frame
    frames -> temporal encoder -> one vector for the video
    (sentence, words) x (video, frames, patches) -> three similarities -> their mean

Every video is compared with every text of a batch; the right pairs are on the diagonal. It finds videos and
texts, not moments. At test time Sinkhorn biases from reference queries may be added (`retrieve`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vmrlib.models.clip import Clip
from vmrlib.models.gathering import gathered_with_gradients
from vmrlib.models.sinkhorn import ITERATIONS, Retrieval, check_reference, normalised
from vmrlib.models.ucofia_clip import build_clip, video_tokens
from vmrlib.models.ucofia_config import UCoFiAConfig
from vmrlib.models.ucofia_selection import PatchSelection
from vmrlib.models.ucofia_similarity import Similarity, TextSide, VideoSide
from vmrlib.models.ucofia_temporal import TemporalEncoder, video_vector

LARGEST_SCALE = math.log(100)  # of the cosines in the logits, as CLIP has it
RELEASED = {"betas": (0.9, 0.98), "eps": 1e-6}  # constants of the optimiser


@dataclass(frozen=True)
class Reference:
    """Texts and videos that Sinkhorn biases are taken from, with their ids; training queries as a rule."""

    texts: TextSide | None = None
    text_ids: Sequence[str] = ()
    videos: VideoSide | None = None
    video_ids: Sequence[str] = ()


class UCoFiA(nn.Module):
    """Compares texts with videos. See the module's text for the way through it."""

    def __init__(self, config: UCoFiAConfig):
        super().__init__()
        self.config = config
        self.clip = build_clip(config.clip, config.dim, config.frames) if config.clip else None
        self.own_scale = None if self.clip else nn.Parameter(torch.tensor(LARGEST_SCALE))
        self.temporal = TemporalEncoder(config.dim, config.heads, config.layers, config.positions)
        self.selection = PatchSelection(
            config.dim, config.patches, config.scorer, config.samples, config.sigma, config.noisy_evaluation
        )
        # G0, G1, L0, L1: row vectors times matrix
        self.sentence_map, self.video_map = (
            nn.Parameter(torch.eye(config.dim)),
            nn.Parameter(torch.eye(config.dim)),
        )
        self.word_map, self.patch_map = (
            nn.Parameter(torch.eye(config.dim)),
            nn.Parameter(torch.eye(config.dim)),
        )
        self.similarity = Similarity(config.frames, config.words, config.vectors, config.temperature)

    @property
    def log_scale(self) -> nn.Parameter:
        """Logarithm of the factor of the cosines: CLIP's own where it is trained along."""
        return self.clip.model.logit_scale if self.clip else self.own_scale

    def load_pretrained(self) -> None:
        """What a training begins with: the weights of the CLIP that the configuration names, if any."""
        if self.config.pretrained:
            self.start_from(pretrained_clip(self.config.pretrained))

    @torch.no_grad()
    def start_from(self, clip: Clip) -> "UCoFiA":
        """This model with CLIP's weights, its temporal blocks and positions those of CLIP's *text* encoder.

        Raises ValueError where the text encoder is not as wide as the joint space.
        """
        text = clip.model.text_model
        table = text.embeddings.position_embedding.weight
        if table.shape[1] != self.config.dim:
            raise ValueError(f"dim {self.config.dim}: CLIP's text encoder is {table.shape[1]} wide")
        if self.clip:
            self.clip.model.load_state_dict(clip.model.state_dict())
            self.clip.tokenizer = clip.tokenizer
        rows = min(len(table), self.config.positions)
        self.temporal.positions[:rows] = table[:rows]
        for ours, layer in zip(self.temporal.blocks, text.encoder.layers, strict=False):
            attention, mlp = layer.self_attn, layer.mlp
            joint = (attention.q_proj, attention.k_proj, attention.v_proj)
            for name in ("weight", "bias"):
                getattr(ours.projections, name).copy_(torch.cat([getattr(part, name) for part in joint]))
            for mine, theirs in (
                (ours.dense, attention.out_proj),
                (ours.norm_in, layer.layer_norm1),
                (ours.norm_ffn, layer.layer_norm2),
                (ours.widen, mlp.fc1),
                (ours.narrow, mlp.fc2),
            ):
                mine.load_state_dict(theirs.state_dict())
        self.log_scale.copy_(clip.model.logit_scale)
        return self

    # --- one side at a time

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "A W"]:
        """Token ids of plain texts, filled up to W; a text too long for them loses its last words."""
        if self.clip.tokenizer is None and self.config.pretrained:
            self.clip.tokenizer = pretrained_clip(self.config.pretrained).tokenizer
        return self.clip.tokenize(texts, self.config.words)

    def texts(self, batch: Mapping) -> TextSide:
        """What these texts bring to every comparison; the fields of `forward`'s batch about texts."""
        if "token_ids" in batch:
            encoded = self.clip.encode_text(batch["token_ids"])
            return self.text_side(encoded.sentence, encoded.word)
        return self.text_side(batch["sentence"], batch["words"])

    def videos(self, batch: Mapping) -> VideoSide:
        """What these videos bring to every comparison; the fields of `forward`'s batch about videos."""
        kind = next(name for name in ("frames", "pixels", "tokens") if name in batch)
        seen = batch[kind]
        self._expect("frames", seen.shape[1], self.config.frames)
        if kind == "frames":
            seen = self.clip.preprocess(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        tokens = seen if kind == "tokens" else video_tokens(self.clip, seen)
        return self.video_side(tokens[:, :, 0], self.selection(tokens), batch["frame_mask"])

    def text_side(self, sentence: Float[Tensor, "A D"], words: Float[Tensor, "A W D"]) -> TextSide:
        """Normalised and mapped, from projected features of sentences and of all their word slots."""
        self._expect("words", words.shape[1], self.config.words)
        sentence = F.normalize(sentence, dim=-1)
        return TextSide(sentence, sentence @ self.sentence_map, F.normalize(words, dim=-1) @ self.word_map)

    def video_side(
        self, frames: Float[Tensor, "B F D"], patches: Float[Tensor, "B P D"], mask: Bool[Tensor, "B F"]
    ) -> VideoSide:
        """Normalised and mapped, from frame features and patch vectors; the latter keep their norms.

        The mask is for the video's vector alone: padded frames count as frames and as patches.
        """
        self._expect("patch vectors", patches.shape[1], self.config.vectors)
        video = video_vector(self.temporal(frames, mask), mask)
        if self.training or self.config.patch_map_in_evaluation:
            patches = patches @ self.patch_map
        return VideoSide(video @ self.video_map, F.normalize(frames, dim=-1), patches)

    @staticmethod
    def _expect(what: str, found: int, expected: int) -> None:
        if found != expected:
            raise ValueError(f"{what}: {found}, but the model's matrices are for {expected}")

    # --- pairs

    def compare(self, texts: TextSide, videos: VideoSide, block: int | None = None) -> Float[Tensor, "3 A B"]:
        """The similarities of video, frames and patches of all pairs, in blocks (config.block by default).

        Never in half precision: 0.01 twice in a row would magnify what it leaves out.
        """
        texts, videos = (type(side)(*map(full_precision, side)) for side in (texts, videos))
        return self.similarity(texts, videos, self.log_scale.exp(), block or self.config.block)

    def forward(self, batch: Mapping) -> dict[str, Tensor]:
        """Similarities of all texts with all videos of a batch.

        Of videos the batch has `frame_mask` (B, F) and `frames` (B, F, H, W, 3) as uint8, or `pixels`
        (B, F, 3, S, S) as CLIP takes them, or `tokens` (B, F, T, D), projected CLIP features of all tokens,
        class token first. Of texts it has `token_ids` (A, W), or `sentence` (A, D) and `words` (A, W, D),
        projected features. In training of several processes A and B count the samples of all of them.

        levels (3, A, B): similarities of video, frames, patches. logits (A, B): their mean.
        """
        texts, videos = self.texts(batch), self.videos(batch)
        if self.training:
            texts, videos = (type(side)(*map(gathered_with_gradients, side)) for side in (texts, videos))
        levels = self.compare(texts, videos)
        return {"levels": levels, "logits": levels.mean(dim=0)}

    def loss(self, outputs: Mapping, batch: Mapping) -> dict[str, Tensor]:
        """Cross entropies of texts and of videos, and their mean `total`; text i belongs to video i."""
        return symmetric_loss(outputs["logits"])

    @torch.no_grad()
    def after_step(self) -> None:
        """To be called when the optimiser has stepped: the cosines' factor stays at 100 or below."""
        self.log_scale.clamp_(max=LARGEST_SCALE)

    @torch.inference_mode()
    def retrieve(
        self,
        texts: TextSide,
        videos: VideoSide,
        text_ids: Sequence[str],
        video_ids: Sequence[str],
        reference: Reference | None = None,
        iterations: int = ITERATIONS,
        transductive: bool = False,
    ) -> Retrieval:
        """Scores of test texts and videos for both directions, with biases where there is a reference.

        Raises ReferenceSetError for a reference that holds a text or video of the test, but for
        `transductive`, and for ids that do not match what they name.
        """
        found = reference or Reference()
        of_texts = of_videos = None
        if found.texts is not None:
            number = len(found.texts.sentence)
            check_reference("reference texts", found.text_ids, text_ids, number, transductive)
            of_texts = self.compare(found.texts, videos)
        if found.videos is not None:
            number = len(found.videos.mapped)
            check_reference("reference videos", found.video_ids, video_ids, number, transductive)
            of_videos = self.compare(texts, found.videos)
        return normalised(self.compare(texts, videos), of_texts, of_videos, iterations, transductive)

    def parameter_groups(self) -> list[dict]:
        """Groups for an optimiser, as released (8.3): CLIP learns slower, and only biases do not decay.

        Norms, the logit scale and the matrices that start as identities do decay there. `share` is of the
        learning rate; the other keys are constants of AdamW and of BertAdam.
        """
        groups = []
        for of_clip in (True, False):
            for decays in (True, False):
                chosen = [
                    parameter
                    for name, parameter in self.named_parameters()
                    if parameter.requires_grad
                    and (name.startswith("clip.") or name == "own_scale") == of_clip
                    and ("bias" not in name) == decays
                ]
                share = self.config.clip_share if of_clip else 1.0
                decay = self.config.weight_decay if decays else 0.0
                groups.append({"params": chosen, "share": share, "weight_decay": decay} | RELEASED)
        return [group for group in groups if group["params"]]


def pretrained_clip(name: str) -> Clip:
    """CLIP as it was before this training: Stage's own, or that of a hub id or a folder."""
    return Clip.stage() if name == "stage" else Clip.load(name)


def full_precision(values: Tensor) -> Tensor:
    """Half precision as float32, anything else as it is."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def symmetric_loss(logits: Float[Tensor, "B B"]) -> dict[str, Float[Tensor, ""]]:
    """`text_to_video` (over rows), `video_to_text` (over columns), and `total`, their mean."""
    right = torch.arange(len(logits), device=logits.device)
    losses = {
        "text_to_video": F.cross_entropy(logits, right),
        "video_to_text": F.cross_entropy(logits.T, right),
    }
    return losses | {"total": sum(losses.values()) / 2}
