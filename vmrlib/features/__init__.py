"""From video to features: decoding, and the extractors behind one small interface."""

import torch

from vmrlib.features.extractor import Extractor, ExtractorError

SPECIFICATIONS = (
    "stage-clip | clip:ID_OR_FOLDER | c3d[:WEIGHTS.safetensors] | video:ID_OR_FOLDER | baseline[:FRAMES] | "
    "outline"
)

__all__ = ["SPECIFICATIONS", "Extractor", "ExtractorError", "load_extractor"]


def load_extractor(
    spec: str, device: str | torch.device | None = None, seconds_per_clip: float | None = None
) -> Extractor:
    """Extractor of a specification such as `baseline` or `clip:openai/clip-vit-base-patch32`.

    `device` defaults to the GPU if there is one, `seconds_per_clip` to what suits the extractor.
    Raises ExtractorError for an unknown specification, WeightsError for weights that cannot be loaded.
    """
    # The networks are imported only when asked for: transformers alone takes seconds.
    kind, _, source = spec.partition(":")
    options = {"device": device}
    if seconds_per_clip is not None:
        options["seconds_per_clip"] = seconds_per_clip
    if spec == "baseline" or (kind == "baseline" and source.isdecimal() and int(source) >= 2):
        from vmrlib.features.baseline import BaselineExtractor

        return BaselineExtractor(**options, **({"frames_per_clip": int(source)} if source else {}))
    if spec == "outline":
        from vmrlib.features.outline import OutlineExtractor

        return OutlineExtractor(**options)
    if spec == "stage-clip":
        from vmrlib.features.clip import ClipExtractor

        return ClipExtractor.stage(**options)
    if kind == "clip" and source:
        from vmrlib.features.clip import ClipExtractor

        return ClipExtractor.load(source, **options)
    if spec == "c3d" or (kind == "c3d" and source):
        from vmrlib.features.c3d import C3DExtractor

        return C3DExtractor(source or None, **options)
    if kind == "video" and source:
        from vmrlib.features.video import VideoExtractor

        return VideoExtractor(source, **options)
    raise ExtractorError(f"unknown extractor {spec!r}, expected {SPECIFICATIONS}")
