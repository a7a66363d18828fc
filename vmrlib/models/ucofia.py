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

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vmrlib.models.clip import Clip
from vmrlib.models.gathering import first_times, gathered_with_gradients
from vmrlib.models.precision import in_full_precision
from vmrlib.models.sinkhorn import ITERATIONS, Retrieval, check_ids, normalised, overlap
from vmrlib.models.ucofia_clip import build_clip, expect_same_sizes, video_tokens
from vmrlib.models.ucofia_config import UCoFiAConfig
from vmrlib.models.ucofia_selection import PatchSelection
from vmrlib.models.ucofia_similarity import Reference, Similarity, TextSide, VideoSide
from vmrlib.models.ucofia_temporal import TemporalEncoder, video_vector

LARGEST_SCALE = math.log(100)  # of the cosines in the logits, as CLIP has it
# Texts and videos compared at a time: so that a block stays in the caches, or keeps a GPU busy.
BLOCKS = {"cpu": 16, "cuda": 64}
RELEASED = {"betas": (0.9, 0.98), "eps": 1e-6}  # constants of the optimiser


class UCoFiA(nn.Module):
    """Compares texts with videos. See the module's text for the way through it."""

    bert_adam_norm = 1.0  # all gradients together are clipped to it, before BertAdam clips each tensor

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

        Raises ValueError where the text encoder is not as wide as the joint space, and for a CLIP of other
        sizes than the configuration's.
        """
        text = clip.model.text_model
        table = text.embeddings.position_embedding.weight
        if table.shape[1] != self.config.dim:
            raise ValueError(f"dim {self.config.dim}: CLIP's text encoder is {table.shape[1]} wide")
        if self.clip:
            expect_same_sizes(self.clip, clip)
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
        self._expect_clip("texts")
        if self.clip.tokenizer is None and self.config.pretrained:
            self.clip.tokenizer = pretrained_clip(self.config.pretrained).tokenizer
        return self.clip.tokenize(texts, self.config.words)

    def texts(self, batch: Mapping) -> TextSide:
        """What these texts bring to every comparison; the fields of `forward`'s batch about texts."""
        if "token_ids" in batch:
            self._expect_clip("token_ids")
            encoded = self.clip.encode_text(batch["token_ids"])
            return self.text_side(encoded.sentence, encoded.word)
        if not {"sentence", "words"} <= batch.keys():
            raise ValueError("texts: a batch needs `token_ids`, or `sentence` and `words`")
        return self.text_side(batch["sentence"], batch["words"])

    def videos(self, batch: Mapping) -> VideoSide:
        """What these videos bring to every comparison; the fields of `forward`'s batch about videos.

        A padded frame is zero *after* normalisation, which no picture is, whatever its pixels were.
        """
        kind = next((name for name in ("frames", "pixels", "tokens") if name in batch), None)
        if kind is None:
            raise ValueError("videos: a batch needs `frames`, `pixels` or `tokens`")
        seen, mask = batch[kind], batch["frame_mask"].bool()
        self._expect("frames", seen.shape[1], self.config.frames)
        if kind != "tokens":
            self._expect_clip(kind)
            if kind == "frames":
                seen = self.clip.preprocess(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
            seen = video_tokens(self.clip, seen * mask[..., None, None, None])
        return self.video_side(seen[:, :, 0], self.selection(seen), mask)

    @in_full_precision
    def text_side(self, sentence: Float[Tensor, "A D"], words: Float[Tensor, "A W D"]) -> TextSide:
        """Normalised and mapped, from projected features of sentences and of all their word slots."""
        self._expect("words", words.shape[1], self.config.words)
        sentence = F.normalize(sentence, dim=-1)
        return TextSide(sentence, sentence @ self.sentence_map, F.normalize(words, dim=-1) @ self.word_map)

    @in_full_precision
    def video_side(
        self, frames: Float[Tensor, "B F D"], patches: Float[Tensor, "B P D"], mask: Bool[Tensor, "B F"]
    ) -> VideoSide:
        """Normalised and mapped, from frame features and patch vectors; the latter keep their norms.

        The mask is for the video's vector alone: padded frames count as frames and as patches.
        """
        mask = mask.bool()
        self._expect("patch vectors", patches.shape[1], self.config.vectors)
        video = video_vector(self.temporal(frames, mask), mask)
        if self.training or self.config.patch_map_in_evaluation:
            patches = patches @ self.patch_map
        return VideoSide(video @ self.video_map, F.normalize(frames, dim=-1), patches)

    @staticmethod
    def _expect(what: str, found: int, expected: int) -> None:
        if found != expected:
            raise ValueError(f"{what}: {found}, but the model's matrices are for {expected}")

    def _expect_clip(self, what: str) -> None:
        if self.clip is None:
            raise ValueError(f"{what}: this model has no CLIP (config.clip is None); it takes features")

    # --- pairs

    def compare(self, texts: TextSide, videos: VideoSide, block: int | None = None) -> Float[Tensor, "3 A B"]:
        """The similarities of video, frames and patches of all pairs, in blocks (config.block by default).

        Never in half precision: 0.01 twice in a row would magnify what it leaves out. Sides may be kept in
        half; a block of them is upcast at a time. Raises ValueError for a block below 1.
        """
        if block is None:
            block = self.config.block or BLOCKS.get(self.log_scale.device.type, BLOCKS["cpu"])
        if block < 1:
            raise ValueError(f"block: expected a number above 0, found {block}")
        return self.similarity(texts, videos, self.log_scale.exp(), block)

    def forward(self, batch: Mapping) -> dict[str, Tensor]:
        """Similarities of all texts with all videos of a batch.

        Of videos the batch has `frame_mask` (B, F) and `frames` (B, F, H, W, 3) as uint8, or `pixels`
        (B, F, 3, S, S) as CLIP takes them, or `tokens` (B, F, T, D), projected CLIP features of all tokens,
        class token first. Of texts it has `token_ids` (A, W), or `sentence` (A, D) and `words` (A, W, D),
        projected features. In training of several processes A and B count the samples of all of them, each
        once where `samples` (B,) numbers them.

        levels (3, A, B): similarities of video, frames, patches. logits (A, B): their mean.
        """
        texts, videos = self.texts(batch), self.videos(batch)
        if self.training:
            texts, videos = self._of_all_processes(texts, videos, batch.get("samples"))
        levels = self.compare(texts, videos)
        return {"levels": levels, "logits": levels.mean(dim=0)}

    @staticmethod
    def _of_all_processes(texts: TextSide, videos: VideoSide, samples: Tensor | None):
        """Both sides of the samples of all processes; one that several have (`samples`) is there once."""
        rows = gathered_with_gradients(*texts, *videos)
        if samples is not None:
            kept = first_times(samples)
            rows = [part[kept] for part in rows] if len(kept) < len(rows[0]) else rows
        return TextSide(*rows[: len(texts)]), VideoSide(*rows[len(texts) :])

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

        `transductive` allows a reference that holds texts or videos of the test; the protocol of what comes
        out says whether it did. Raises ReferenceSetError for such a reference otherwise, for an empty one,
        and for ids that do not match what they name, those of the test included.
        """
        check_ids("texts", text_ids, len(texts.sentence))
        check_ids("videos", video_ids, len(videos.mapped))
        found, of_test = reference or Reference(), []
        of_texts = of_videos = None
        if found.texts is not None:
            check_ids("reference texts", found.text_ids, len(found.texts.sentence))
            of_test.append(overlap("reference texts", found.text_ids, text_ids, transductive))
            of_texts = self.compare(found.texts, videos)
        if found.videos is not None:
            check_ids("reference videos", found.video_ids, len(found.videos.mapped))
            of_test.append(overlap("reference videos", found.video_ids, video_ids, transductive))
            of_videos = self.compare(texts, found.videos)
        return normalised(self.compare(texts, videos), of_texts, of_videos, iterations, any(of_test))

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


def symmetric_loss(logits: Float[Tensor, "B B"]) -> dict[str, Float[Tensor, ""]]:
    """`text_to_video` (over rows), `video_to_text` (over columns), and `total`, their mean."""
    right = torch.arange(len(logits), device=logits.device)
    losses = {
        "text_to_video": F.cross_entropy(logits, right),
        "video_to_text": F.cross_entropy(logits.T, right),
    }
    return losses | {"total": sum(losses.values()) / 2}
