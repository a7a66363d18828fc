"""ReLoCLNet: finds video and moment, and learns by contrast, too (Zhang et al., SIGIR 2021).

Read beside the authors' slides and their code (26hzhang/ReLoCLNet at 56cb666); sections 2 to 4 of the
specification. A video has two streams, clips and subtitles, on one grid of T places; a sentence is read
once and summed up twice, in one vector for each stream.

    sentence   project -> positions -> two blocks -> a weighted sum of the words for each stream
    video      project -> positions -> block -> co-attention -> block (middle) -> block (final)

The score of a video is the best cosine between the sentence's vector and a clip, averaged over the streams;
start and end are two filters run along the similarity of clips and sentence (ConvSE). The contrastive losses
read the `middle` states, everything else the `final` ones. Beside this file: sizes and constants in
`reloclnet_config.py`, parts of encoders in `reloclnet_blocks.py`, losses in `reloclnet_losses.py`, those of
the slides in `reloclnet_slides.py`, answers over a corpus of videos in `reloclnet_search.py`.

Where paper and code differ, this is the code; `ReLoCLNetConfig.slides` has what the slides say. "Standard
transformer" blocks have no feed-forward step. Padding is not inert: rows behind the end of a video hold
numbers, and two of them reach into the filters' window.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vmrlib.models import reloclnet_losses as losses
from vmrlib.models.gathering import gathered, gathered_with_gradients
from vmrlib.models.msat_losses import samples
from vmrlib.models.precision import in_full_precision
from vmrlib.models.reloclnet_blocks import Positions, QueryEncoder, Stream, check_mask, masked
from vmrlib.models.reloclnet_config import ReLoCLNetConfig
from vmrlib.models.reloclnet_slides import FrameDiscriminator, PooledContrast, contrast_of_pairs
from vmrlib.models.reloclnet_spans import best_spans


class ReLoCLNet(nn.Module):
    """Scores videos and the moments in them for a sentence. See the module's text for the way through it."""

    def __init__(self, config: ReLoCLNetConfig):
        super().__init__()
        self.config = config
        sizes = (config.dim, config.heads, config.dropout, config.input_dropout)
        self.query = QueryEncoder(config.dim_words, config.longest, config.streams, *sizes)
        self.positions = Positions(config.clips, config.dim, config.dropout)  # one table for both streams
        dims = [config.dim_video, config.dim_subtitles][: config.streams]
        self.streams = nn.ModuleList(Stream(dim, *sizes, asks=config.streams == 2) for dim in dims)
        self.start, self.end = (
            nn.Conv1d(1, 1, config.kernel, padding=config.kernel // 2, bias=False) for _ in range(2)
        )
        slides = config.video_contrast == "slides"
        self.pooled_contrast = PooledContrast(config.dim, config.streams) if slides else None
        slides = config.frame_contrast == "slides"
        self.discriminator = FrameDiscriminator(config.dim, config.streams) if slides else None
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=config.initial_std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def encode_video(self, batch: Mapping) -> dict[str, Tensor]:
        """States of the videos of a batch: `first`, `middle` and `final`, each (B, S, T, d), and `mask`.

        Reads video (B, T, D) and, with two streams, subtitles (B, T, D'); video_mask (B, T), without which
        no place is padding. T is at most `config.clips`; the released figures are those of all of them.
        Raises ValueError for a batch without one of them, a mask of numbers, and clips behind padding.
        """
        names = ("video", "subtitles")[: self.config.streams]
        for name in names:
            if name not in batch:
                raise ValueError(f"{name}: not in the batch, but this model reads {' and '.join(names)}")
        inputs = [batch[name] for name in names]
        mask = batch.get("video_mask")
        if mask is None:
            mask = torch.ones(inputs[0].shape[:2], dtype=torch.bool, device=inputs[0].device)
        check_mask("video_mask", mask, to_the_end=True)
        first = [
            stream.first(self.positions(stream.input(features)), mask)
            for stream, features in zip(self.streams, inputs, strict=True)
        ]
        mixed = first
        if self.config.streams == 2:  # each asks the other as it was before either has asked
            both = mask[:, :, None] & mask[:, None]
            mixed = [
                stream.cross_norm(stream.cross(own, other, both) + own)
                for stream, own, other in zip(self.streams, first, reversed(first), strict=True)
            ]
        middle = [stream.second(states, mask) for stream, states in zip(self.streams, mixed, strict=True)]
        final = [stream.third(states, mask) for stream, states in zip(self.streams, middle, strict=True)]
        states = {"first": first, "middle": middle, "final": final}
        return {name: torch.stack(parts, dim=1) for name, parts in states.items()} | {"mask": mask}

    @in_full_precision
    def video_scores(
        self, vectors: Float[Tensor, "Q S d"], final: Float[Tensor, "V S T d"], mask: Bool[Tensor, "V T"]
    ) -> Float[Tensor, "Q V"]:
        """phi, in -1..1: the best cosine of sentence and clip, the mean over the streams (section 3)."""
        cosines = torch.einsum("qsd,vstd->qsvt", F.normalize(vectors, dim=-1), F.normalize(final, dim=-1))
        return masked(cosines, mask).amax(dim=-1).mean(dim=1)

    @in_full_precision
    def span_queries(self, vectors: Float[Tensor, "*Q S d"]) -> Float[Tensor, "*Q S d"]:
        """The sentence's vectors as the similarity of clips reads them."""
        return torch.stack(
            [stream.query_out(vectors[..., s, :]) for s, stream in enumerate(self.streams)], dim=-2
        )

    @in_full_precision
    def span_logits(
        self, similarity: Float[Tensor, "*Q T"], mask: Bool[Tensor, "*#Q T"]
    ) -> tuple[Float[Tensor, "*Q T"], Float[Tensor, "*Q T"]]:
        """Logits of start and end at every clip (ConvSE); padding has -1e10.

        The similarity behind the end of the video is not masked: the filters read it.
        """
        around, clips = self.config.kernel // 2, similarity.shape[-1]
        padded = F.pad(similarity, (around, around))
        # A sum of shifted copies, not F.conv1d, which a GPU rounds to TF32 unless somebody forbids it.
        start, end = (
            sum(weight * padded[..., i : i + clips] for i, weight in enumerate(layer.weight[0, 0]))
            for layer in (self.start, self.end)
        )
        return masked(start, mask), masked(end, mask)

    def forward(self, batch: Mapping) -> dict[str, Tensor]:
        """What the model says about the sentences and the videos of a batch (see `encode_video`).

        Reads words (B, L, W) and word_mask (B, L), too.

        word_weights (B, L, S): of each word in the vector of a stream; they sum to 1.
        query_vectors (B, S, d): these vectors.
        middle, final (B, S, T, d): states of the videos, and mask (B, T).
        video_scores (B, B): of every sentence (row) and video (column).
        similarity (B, T): of each sentence to the clips of its own video.
        start_logits, end_logits (B, T): that the moment starts with, or ends before, a clip.

        A batch that holds `moments_cell` (clips) is one to learn from. In training of several processes A
        counts the samples of all of them, as do then the axes of video_scores; otherwise A is B. There are

        labels (B, 2): the clips of start and end.
        negative_ranks (2, A): the places, best first, that negatives are taken from; they follow from the
        batch's `draws` (B, 2) and `epoch`, which are as in `data.drawn`: without them any, and the first one.
        frame_similarity (B, S, T): of sentences and clips as FrameCL compares them.
        contrast_similarity (A, A), of the slides (S, A, A): of sentences and videos as VideoCL does.

        What a loss of weight 0 would need is left out.
        """
        _, weights, vectors = self.query(batch["words"], batch["word_mask"])
        video = self.encode_video(batch)
        middle, final, mask = video["middle"], video["final"], video["mask"]
        similarity = self.own_similarity(vectors, final)
        start, end = self.span_logits(similarity, mask)
        # Each process compares its own videos with the sentences of all, and tells the others what it found.
        together = self.gathering(batch)
        everyone = together(vectors)
        scores = together(self.video_scores(everyone, final, mask).mT.contiguous()).mT
        outputs = {
            "word_weights": weights,
            "query_vectors": vectors,
            "middle": middle,
            "final": final,
            "mask": mask,
            "video_scores": scores,
            "similarity": similarity,
            "start_logits": start,
            "end_logits": end,
        }
        if "moments_cell" not in batch:
            return outputs
        outputs["labels"] = losses.span_labels(batch["moments_cell"], mask)
        draws = batch.get("draws")
        draws = torch.rand(len(vectors), 2, device=vectors.device) if draws is None else draws
        pool = self.config.hard_pool if self.hard_negatives(batch.get("epoch", 0)) else None
        outputs["negative_ranks"] = losses.drawn_ranks(together(draws), pool)
        if "frames" in self.config.parts:
            compare = losses.frame_similarity if self.discriminator is None else self.discriminator
            outputs["frame_similarity"] = compare(vectors, middle)
        if "contrast" in self.config.parts:
            compare = losses.video_similarity if self.pooled_contrast is None else self.pooled_contrast
            pairs = compare(everyone, middle, mask).movedim(-1, 0).contiguous()  # videos first
            outputs["contrast_similarity"] = together(pairs).movedim(0, -1)
        return outputs

    @in_full_precision
    def own_similarity(
        self, vectors: Float[Tensor, "B S d"], final: Float[Tensor, "B S T d"]
    ) -> Float[Tensor, "B T"]:
        """Of each sentence to the clips of its own video, for start and end: the mean over the streams."""
        return torch.einsum("bsd,bstd->bt", self.span_queries(vectors), final) / self.config.streams

    def gathering(self, batch: Mapping) -> Callable[[Tensor], Tensor]:
        """What puts the rows of all processes together in training; elsewhere it leaves them as they are.

        A batch of fewer samples than processes is in each of them whole, which `annotation`, the number of
        each sample, tells: then a sample would be its own negative.
        """
        whole = not self.training
        if self.training and "annotation" in batch:
            (numbers,) = gathered(batch["annotation"])
            whole = len(numbers.unique()) < len(numbers)
        return (lambda rows: rows) if whole else (lambda rows: gathered_with_gradients(rows)[0])

    def hard_negatives(self, epoch: int) -> bool:
        """Are negatives drawn from the best ones only in this epoch, of which the first is 0?"""
        return self.config.hard_after is not None and epoch >= self.config.hard_after

    def loss(self, outputs: Mapping, batch: Mapping) -> dict[str, Tensor]:
        """The losses that have a weight, and their weighted sum `total` (section 4).

        spans: cross entropies of start and end; videos, sentences: ranking of the videos for a sentence and
        of the sentences for a video; frames, contrast: FrameCL and VideoCL. Each sees the batch that it is
        given, so of a batch in parts (`accumulation`) each part has its own negatives. Of several processes
        the means over samples are each process's share of that of the whole batch.
        """
        config, scores, labels = self.config, outputs["video_scores"], outputs["labels"]
        of_videos, of_sentences = outputs["negative_ranks"] if config.negatives == "sampled" else (None, None)
        share = len(labels) / samples(len(labels), scores)
        parts = {}
        if "spans" in config.parts:
            parts["spans"] = share * losses.span_loss(outputs["start_logits"], outputs["end_logits"], labels)
        if "videos" in config.parts:
            parts["videos"] = losses.ranking_loss(scores, of_videos, config.margin, config.ranking)
        if "sentences" in config.parts:
            parts["sentences"] = losses.ranking_loss(scores.T, of_sentences, config.margin, config.ranking)
        if "frames" in config.parts:
            shift = losses.SHIFT if config.frame_contrast == "released" else 0.0
            similarity, mask = outputs["frame_similarity"], outputs["mask"]
            parts["frames"] = share * losses.frame_contrast(similarity, labels, mask, shift).mean()
        if "contrast" in config.parts:
            form = losses.video_contrast if config.video_contrast == "released" else contrast_of_pairs
            parts["contrast"] = form(outputs["contrast_similarity"])
        return parts | {"total": sum(config.parts[name] * part for name, part in parts.items())}

    def after_step(self) -> None:
        """To be called when the optimiser has stepped, as of every model; nothing is remembered here."""

    def parameter_groups(self, weight_decay: float = 0.01) -> list[dict]:
        """The parameters that decay and those that do not, for an optimiser (section 5).

        Biases and norms do not; but the norms behind the co-attention do: the release spells their names
        in another way than its list of exceptions.
        """
        groups = {True: [], False: []}
        for name, parameter in self.named_parameters():
            groups[not name.endswith(("bias", ".norm.weight"))].append(parameter)
        return [
            {"params": groups[True], "weight_decay": weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ]

    @torch.inference_mode()
    def localise(
        self, batch: Mapping, top: int = 5
    ) -> list[tuple[Float[Tensor, "K 2"], Float[Tensor, " K"]]]:
        """The `top` best moments of each sentence in its own video, seconds, and their scores in 0..1 (SVMR).

        Nothing is suppressed, as in the published figures. The end of the last clip cannot be reached: the
        label of an end is at most T - 1.
        """
        outputs = self(batch)
        start, end = (outputs[name].softmax(dim=-1)[:, None] for name in ("start_logits", "end_logits"))
        spans = best_spans(start, end, start.new_ones(len(start), 1), self.config.span_clips, top)
        seconds = self.seconds_per_clip(batch, len(start))
        return [
            (torch.stack([first, last], dim=-1).double().cpu() * second, score.double().cpu())
            for first, last, score, second in (
                (spans.start[b, keep], spans.end[b, keep], spans.score[b, keep], seconds[b])
                for b, keep in enumerate(spans.score > 0)
            )
        ]

    def seconds_per_clip(self, batch: Mapping, videos: int) -> Float[Tensor, " B"]:
        """How long a clip of each video is (seconds, float64, on the CPU)."""
        if self.config.seconds_per_clip is not None:
            return torch.full((videos,), self.config.seconds_per_clip, dtype=torch.float64)
        return batch["duration"].double().cpu() / self.config.clips
