"""C3D (Tran et al. 2015): 3D convolutions over 16 frames, 4096 features at fc6."""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vmrlib.features.extractor import Extractor, ExtractorError
from vmrlib.features.pixels import Normalisation, to_pixels

FRAMES, SIDE = 16, 112
# The networks trained on Sports-1M take 0..255 minus a mean; our pixels are in 0..1.
SPORTS_1M = Normalisation((104 / 255, 117 / 255, 128 / 255), (1 / 255, 1 / 255, 1 / 255))
# Layer name, width relative to the first one; the pool that follows halves space, and after the first time.
LAYERS = (
    ("conv1", 1, (1, 2, 2)),
    ("conv2", 2, (2, 2, 2)),
    ("conv3a", 4, None),
    ("conv3b", 4, (2, 2, 2)),
    ("conv4a", 8, None),
    ("conv4b", 8, (2, 2, 2)),
    ("conv5a", 8, None),
    ("conv5b", 8, (2, 2, 2)),
)


class C3D(nn.Module):
    """Eight 3 x 3 x 3 convolutions with five pools and the first dense layer (section 3.2 of the paper)."""

    def __init__(self, width: int = 64, dim: int = 4096):
        super().__init__()
        channels = 3
        for name, factor, _ in LAYERS:
            self.add_module(name, nn.Conv3d(channels, factor * width, kernel_size=3, padding=1))
            channels = factor * width
        self.fc6 = nn.Linear(channels * 4 * 4, dim)

    def forward(self, pixels: Float[Tensor, "N 3 16 112 112"]) -> Float[Tensor, "N D"]:
        """fc6 after its ReLU."""
        x = pixels
        for name, _, pool in LAYERS:
            x = F.relu(getattr(self, name)(x))
            if pool:
                # The last map is 7 x 7: padded by one it pools to 4 x 4.
                x = F.max_pool3d(x, pool, padding=(0, 1, 1) if name == "conv5b" else 0)
        return F.relu(self.fc6(x.flatten(1)))


class C3DExtractor(Extractor):
    """C3D on 16 frames of 112 x 112 pixels, with weights of a safetensors file or random ones.

    The file holds `conv1.weight` ... `conv5b.bias`, `fc6.weight`, `fc6.bias`, in the names that the public
    PyTorch ports use; layers beyond fc6 are ignored. Without a file the weights are drawn with seed 0 and
    the metadata says `untrained`.
    """

    size = SIDE
    frames_per_clip = FRAMES
    normalisation = str(SPORTS_1M)
    half_precision = False  # activations on 0..255 pixels can leave float16
    gpu_batch = 16

    def __init__(
        self,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        seconds_per_clip: float = FRAMES / 25,
        stride: float | None = None,
    ):
        self.name = "c3d" if weights else "c3d (untrained)"
        network = _load(Path(weights)) if weights else _untrained()
        self.dim = network.fc6.out_features
        super().__init__(network, device, seconds_per_clip, stride)

    def features(self, frames: UInt8[Tensor, "N 16 H W 3"]) -> Float[Tensor, "N D"]:
        """fc6 features."""
        return self.network(to_pixels(frames, self.size, SPORTS_1M).transpose(1, 2))


def _untrained() -> C3D:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return C3D()


def _load(path: Path) -> C3D:
    if not path.is_file():
        raise ExtractorError(f"{path}: no such weights file")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ExtractorError(f"{path}: not a safetensors file ({error})") from error
    for name in ("conv1.bias", "fc6.bias"):
        if name not in state:
            raise ExtractorError(f"{path}: {name} is missing")
    width, dim = len(state["conv1.bias"]), len(state["fc6.bias"])
    with torch.device("meta"):
        network = C3D(width, dim)
    known = {}
    for name, value in network.state_dict().items():
        if name not in state or state[name].shape != value.shape:
            found = f"is {tuple(state[name].shape)}" if name in state else "is missing"
            raise ExtractorError(f"{path}: {name} {found}, expected {tuple(value.shape)}")
        known[name] = state[name].float()
    network.load_state_dict(known, assign=True)
    return network
