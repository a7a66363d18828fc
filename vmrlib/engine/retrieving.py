"""How well a model finds videos by texts and texts by videos, and what needs no training to be found."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vmrlib.data.text_video import TextVideoDataset
from vmrlib.metrics.retrieval import text_to_video, video_to_text
from vmrlib.models.sinkhorn import Retrieval
from vmrlib.models.ucofia_similarity import Reference, joined

TOP = (1, 5, 10)
WAYS = {"text to video": text_to_video, "video to text": video_to_text}
RETRIEVAL_METRICS = tuple(f"{way} R@{k}" for way in WAYS for k in TOP)  # by which a run may choose its best


def sides_of(model: nn.Module, dataset: TextVideoDataset, batch_size: int = 64) -> tuple:
    """What the texts and the videos of a set bring to every comparison, each encoded once.

    The model has `texts` and `videos`; it is in the same mode afterwards as before.
    """
    device, training = next(model.parameters()).device, model.training
    model.eval()
    with torch.inference_mode():
        texts, videos = (
            [side({name: value.to(device) for name, value in batch.items()}) for batch in batches]
            for side, batches in (
                (model.texts, dataset.text_batches(batch_size)),
                (model.videos, dataset.video_batches(batch_size)),
            )
        )
    model.train(training)
    return joined(texts), joined(videos)


def retrieved(
    model: nn.Module,
    dataset: TextVideoDataset,
    batch_size: int = 64,
    reference: TextVideoDataset | None = None,
    transductive: bool = False,
) -> Retrieval:
    """Every text compared with every video, with Sinkhorn biases from the texts and videos of `reference`.

    Raises ReferenceSetError where the set has some of these (it may be the set itself), but for
    `transductive`.
    """
    sides, known = sides_of(model, dataset, batch_size), None
    if reference is not None:
        texts, videos = sides if reference is dataset else sides_of(model, reference, batch_size)
        known = Reference(texts, reference.text_ids, videos, reference.video_ids)
    return model.retrieve(*sides, dataset.text_ids, dataset.video_ids, known, transductive=transductive)


def retrieval_scores(
    model: nn.Module, dataset: TextVideoDataset, batch_size: int = 64
) -> Float[Tensor, "texts videos"]:
    """The mean of the levels of similarity of every text with every video, without biases."""
    return retrieved(model, dataset, batch_size).scores.cpu()


def metrics_of(scores: Float[Tensor, "texts videos"], dataset: TextVideoDataset) -> dict[str, float]:
    """R@1, R@5, R@10 (percent), median and mean rank, both ways.

    Every text is a query; a video's texts are one answer, as good as the best of them.
    """
    figures = {way: metrics(scores, dataset.truth, TOP) for way, metrics in WAYS.items()}
    return {
        f"{way} {name}": round(value, 4)
        for way, values in figures.items()
        for name, value in values.items()
        if name != "std"
    }


def retrieval_metrics(model: nn.Module, dataset: TextVideoDataset, batch_size: int = 64) -> dict[str, float]:
    """`metrics_of` what a model makes of a set, without biases."""
    return metrics_of(retrieval_scores(model, dataset, batch_size), dataset)


def chance(videos: int) -> dict[str, float]:
    """The metrics to be expected of scores that say nothing about any of so many videos."""
    values = {f"R@{k}": 100 * min(1.0, k / videos) for k in TOP}
    values |= {"MdR": (videos + 1) / 2, "MnR": (videos + 1) / 2}
    return {f"{way} {name}": round(value, 4) for way in WAYS for name, value in values.items()}


@torch.inference_mode()
def mean_pooling(
    clip: nn.Module, dataset: TextVideoDataset, batch_size: int = 64
) -> Float[Tensor, "texts videos"]:
    """Cosines of sentences and of the mean of the frames' directions: CLIP as it is, zero-shot.

    Computed on CLIP's device.
    """
    sentences = [
        clip.encode_text(batch["token_ids"].to(clip.device)).sentence
        for batch in dataset.text_batches(batch_size)
    ]
    videos = []
    for batch in dataset.video_batches(batch_size):
        frames = batch["frames"]
        features = clip.encode_frames(frames.flatten(0, 1)).frame.unflatten(0, frames.shape[:2])
        there = batch["frame_mask"].to(features)  # the mean's length does not matter, only its direction
        videos.append((F.normalize(features, dim=-1) * there[..., None]).sum(dim=1))
    return (F.normalize(torch.cat(sentences), dim=-1) @ F.normalize(torch.cat(videos), dim=-1).T).cpu()
