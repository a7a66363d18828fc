"""Video transformers as extractors: VideoMAE and TimeSformer, by hub id or folder."""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from transformers import AutoConfig, AutoModel
from transformers.image_processing_base import ImageProcessingMixin

from vmrlib.features.extractor import Extractor, ExtractorError
from vmrlib.features.pixels import IMAGENET_NORMALISATION, Normalisation, to_pixels

# How the tokens of the last layer become one feature, as the model's own classifier does it.
POOLING = {
    "videomae": lambda tokens: tokens.mean(dim=1),
    "timesformer": lambda tokens: tokens[:, 0],
}


class VideoExtractor(Extractor):
    """A transformers video backbone; the last layer's tokens averaged (VideoMAE) or its class token.

    The number of frames and their size come from the model's configuration, the normalisation from its
    `preprocessor_config.json` (ImageNet's where there is none).
    """

    gpu_batch = 8

    def __init__(
        self,
        source: str,
        device: str | torch.device | None = None,
        seconds_per_clip: float = 2.0,
        stride: float | None = None,
    ):
        try:
            config = AutoConfig.from_pretrained(source)
            if config.model_type not in POOLING:
                raise ExtractorError(
                    f"{source}: is a {config.model_type} model, expected one of {', '.join(POOLING)}"
                )
            network = AutoModel.from_pretrained(source, dtype=torch.float32)
        except ExtractorError:
            raise
        except (OSError, ValueError) as error:
            reason = str(error).strip().split("\n")[0]
            raise ExtractorError(
                f"{source}: neither a folder with a video model nor a reachable hub id ({reason})"
            ) from error
        name = Path(source).resolve().name if Path(source).is_dir() else source
        self.name, self.dim, self.size = f"video:{name}", config.hidden_size, config.image_size
        self.frames_per_clip = config.num_frames
        self.pixel_normalisation = _normalisation(source)
        self.normalisation = str(self.pixel_normalisation)
        self.pool = POOLING[config.model_type]
        super().__init__(network, device, seconds_per_clip, stride)

    def features(self, frames: UInt8[Tensor, "N F H W 3"]) -> Float[Tensor, "N D"]:
        """Pooled tokens of the last layer."""
        pixels = to_pixels(frames, self.size, self.pixel_normalisation)  # (N, F, 3, S, S)
        return self.pool(self.network(pixel_values=pixels).last_hidden_state)


def _normalisation(source: str) -> Normalisation:
    try:
        processor, _ = ImageProcessingMixin.get_image_processor_dict(source)
    except OSError:
        return IMAGENET_NORMALISATION
    if "image_mean" not in processor or "image_std" not in processor:
        return IMAGENET_NORMALISATION
    return Normalisation(*(tuple(map(float, processor[key])) for key in ("image_mean", "image_std")))
