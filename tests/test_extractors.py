"""Extractors: what their features see, that neighbours do not matter, and what their metadata says."""

import hashlib
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    TimesformerConfig,
    TimesformerModel,
    VideoMAEConfig,
    VideoMAEModel,
)

from vmrlib.features import ExtractorError, load_extractor
from vmrlib.features.baseline import BaselineExtractor
from vmrlib.features.c3d import C3D, C3DExtractor
from vmrlib.features.extractor import weights_sha256
from vmrlib.features.pixels import IMAGENET_NORMALISATION, resize, to_pixels
from vmrlib.models.clip import STAGE_FOLDER, STAGE_WEIGHTS, Clip, WeightsError

TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}
METADATA = {
    "extractor", "weights_sha256", "dim", "size", "frames_per_clip", "frame_rate", "window", "stride",
    "normalisation", "vmrlib",
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny random networks, saved as folders and files that a specification can name."""
    root = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    text = {key: TOWER[key] for key in TOWER if key not in ("image_size", "patch_size")}
    clip = CLIPConfig(text_config=text | {"vocab_size": 9}, vision_config=TOWER, projection_dim=8)
    CLIPModel(clip).save_pretrained(root / "clip")
    VideoMAEModel(VideoMAEConfig(**TOWER, num_frames=4, tubelet_size=2)).save_pretrained(root / "videomae")
    TimesformerModel(TimesformerConfig(**TOWER, num_frames=4)).save_pretrained(root / "timesformer")
    save_file(C3D(width=2, dim=10).state_dict(), root / "c3d.safetensors")
    return root


def every_extractor(root):
    return {
        "baseline": 306,
        "outline": 66,
        f"clip:{root / 'clip'}": 8,
        f"c3d:{root / 'c3d.safetensors'}": 10,
        f"video:{root / 'videomae'}": 16,
        f"video:{root / 'timesformer'}": 16,
    }


def noise(extractor, clips, height=None, width=None):
    shape = (clips, extractor.frames_per_clip, height or extractor.size, width or extractor.size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_every_extractor_keeps_the_interface(folders):
    for spec, dim in every_extractor(folders).items():
        extractor = load_extractor(spec, "cpu", seconds_per_clip=2.0)
        features = extractor(noise(extractor, 3))
        assert features.shape == (3, dim) == (3, extractor.dim), spec
        assert features.dtype == torch.float32 and features.isfinite().all(), spec
        assert extractor(noise(extractor, 0)).shape == (0, dim), spec
        assert extractor.seconds_per_clip == extractor.stride == 2.0


def test_a_clip_does_not_depend_on_its_neighbours(folders):
    for spec in every_extractor(folders):
        extractor = load_extractor(spec, "cpu")
        frames = noise(extractor, 8)
        alone = torch.cat([extractor(clip[None]) for clip in frames])
        assert (extractor(frames) - alone).abs().max() <= 1e-5, spec


def test_frames_of_any_shape_are_resized(folders):
    for spec in every_extractor(folders):
        extractor = load_extractor(spec, "cpu")
        assert extractor(noise(extractor, 1, 50, 90)).shape == (1, extractor.dim), spec


def test_metadata_says_how_features_were_made(folders):
    for spec in every_extractor(folders):
        extractor = load_extractor(spec, "cpu", seconds_per_clip=0.5)
        metadata = extractor.metadata()
        assert metadata.keys() == METADATA, spec
        assert metadata["window"] == metadata["stride"] == 0.5
        assert metadata["frame_rate"] == extractor.frames_per_clip / 0.5
        assert spec.startswith(metadata["extractor"].split(":")[0])
        assert str(folders) not in str(metadata), "a folder's place is nobody's business"


def test_the_hash_follows_the_weights_and_not_the_file(folders):
    first, again = (load_extractor(f"clip:{folders / 'clip'}", "cpu").metadata() for _ in range(2))
    assert first == again and len(first["weights_sha256"]) == 64
    network = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(network.weight)
    torch.nn.init.zeros_(network.bias)
    by_hand = b"bias (1,)\n" + np.float32(0).tobytes() + b"weight (1, 1)\n" + np.float32(1).tobytes()
    assert weights_sha256(network) == hashlib.sha256(by_hand).hexdigest()
    assert weights_sha256(network.half()) == weights_sha256(network.float())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet", "unknown extractor 'resnet', expected stage-clip | clip:"),
        ("clip:", "unknown extractor 'clip:'"),
        ("baseline:x", "unknown extractor 'baseline:x'"),
        ("c3d:nowhere.safetensors", "nowhere.safetensors: no such weights file"),
        ("video:./nowhere", "nowhere: neither a folder with a video model nor"),
        ("clip:./nowhere", "nowhere: neither a CLIP folder nor"),
    ],
)
def test_a_wrong_specification_is_one_clear_line(spec, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        load_extractor(spec, "cpu")
    assert message in str(error.value)


def test_wrong_frames_are_refused():
    extractor = BaselineExtractor("cpu")
    with pytest.raises(ExtractorError, match=r"torch.uint8 \(1, 3, 8, 8, 3\), expected uint8 \(clips, 4, "):
        extractor(torch.zeros(1, 3, 8, 8, 3, dtype=torch.uint8))
    with pytest.raises(ExtractorError, match=r"torch.float32"):
        extractor(torch.zeros(1, 4, 8, 8, 3))


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_a_clip_has_a_length(seconds):
    with pytest.raises(ExtractorError, match="seconds_per_clip"):
        BaselineExtractor("cpu", seconds_per_clip=seconds)


def test_stride_may_differ_from_the_window():
    extractor = BaselineExtractor("cpu", seconds_per_clip=2.0, stride=0.5)
    assert (extractor.metadata()["window"], extractor.metadata()["stride"]) == (2.0, 0.5)


# Pixels


def test_resizing_is_that_of_an_image_library():
    y, x = np.mgrid[0:90, 0:120]
    waves = [128 + 100 * np.sin(x / 7 + channel) * np.cos(y / 9) for channel in range(3)]
    frame = np.stack(waves, axis=-1).astype(np.uint8)
    ours = (resize(torch.from_numpy(frame)[None], 45)[0] * 255).permute(1, 2, 0)
    picture = Image.fromarray(frame).resize((60, 45), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.asarray(picture)[:, 7:52].astype(np.float32))  # (60 - 45) // 2 = 7
    assert (ours - expected).abs().max() <= 1


def test_frames_of_the_right_size_keep_their_values():
    frames = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    assert resize(frames, 1).flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
    pixels = to_pixels(frames, 1, IMAGENET_NORMALISATION).flatten()
    assert pixels.tolist() == pytest.approx([-0.485 / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225])


# Baseline


def disc(centres, colour, radius=10.0, ground=(128, 128, 128)):
    """Four 64 px frames (1, 4, 64, 64, 3) with a soft disc at `centres` (4, 2) pixels, x and y."""
    y, x = np.mgrid[0:64, 0:64]
    frames = []
    for (cx, cy), r in zip(centres, np.broadcast_to(radius, 4), strict=True):
        alpha = np.clip(r - np.hypot(x - cx, y - cy) + 0.5, 0, 1)[..., None]
        frames.append(alpha * np.array(colour) + (1 - alpha) * np.array(ground))
    return torch.from_numpy(np.stack(frames)[None].round().astype(np.uint8))


def parts(features):
    names = {"colour": 48, "hue": 96, "edges": 64, "change": 16, "direction": 64, "drift": 18}
    return dict(zip(names, features[0].split(list(names.values())), strict=True))


def along(start, step):
    return [(start[0] + k * step[0], start[1] + k * step[1]) for k in range(4)]


RED, BLUE = (220, 40, 40), (40, 60, 220)


def test_baseline_names_colour_and_cell():
    features = parts(BaselineExtractor("cpu")(disc(along((8, 8), (0, 0)), RED)))
    colour, hue = features["colour"].reshape(16, 3), features["hue"].reshape(16, 6)
    assert colour[0, 0] > colour[0, 1] and colour[15].tolist() == pytest.approx([128 / 255] * 3, abs=1e-6)
    assert hue[0].argmax() == 0 and hue[0, 3] == 0  # red, and nothing of cyan
    assert hue[15].abs().max() < 1e-6  # grey has no hue


@pytest.mark.parametrize(("step", "winner"), [((2, 0), 0), ((-2, 0), 1), ((0, 2), 2), ((0, -2), 3)])
@pytest.mark.parametrize("colour", [RED, BLUE, (250, 240, 120)])  # darker and brighter than the ground
def test_baseline_sees_the_direction_of_motion(step, winner, colour):
    features = parts(BaselineExtractor("cpu")(disc(along((32, 32), step), colour)))
    amounts = features["direction"].reshape(16, 4).sum(dim=0)
    assert amounts.argmax() == winner
    assert amounts[winner] > 3 * amounts[winner ^ 1]  # the opposite direction


def test_baseline_knows_which_colour_moves():
    still, moving = disc(along((16, 44), (0, 0)), BLUE), disc(along((20, 16), (2, 0)), RED)
    frames = torch.where((moving == 128).all(-1, keepdim=True), still, moving)
    drift = parts(BaselineExtractor("cpu")(frames))["drift"].reshape(6, 3)
    assert drift[0, 0] > 0.1 and drift[0, 0] > 5 * drift[0, 1].abs()  # red goes right, not down
    assert drift[4].abs().max() < 1e-5  # blue stays


def test_baseline_sees_growth():
    growing = disc(along((31.5, 31.5), (0, 0)), RED, radius=np.array([8.0, 9.0, 10.0, 11.0]))
    drift = parts(BaselineExtractor("cpu")(growing))["drift"].reshape(6, 3)
    assert drift[0, 2] > 0.1 and drift[0, :2].abs().max() < 0.05


def test_nothing_moves_in_a_still_clip():
    features = parts(BaselineExtractor("cpu")(disc(along((30, 30), (0, 0)), RED)))
    for name in ("change", "direction", "drift"):
        assert features[name].abs().max() == 0, name


def test_a_mirrored_clip_moves_the_other_way():
    frames = disc(along((24, 30), (3, 1)), BLUE)
    one, other = (parts(BaselineExtractor("cpu")(clip)) for clip in (frames, frames.flip(3)))
    mirrored = one["direction"].reshape(4, 4, 4).flip(1)[..., [1, 0, 2, 3]]
    torch.testing.assert_close(other["direction"].reshape(4, 4, 4), mirrored, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        other["drift"].reshape(6, 3),
        one["drift"].reshape(6, 3) * torch.tensor([-1.0, 1.0, 1.0]),
        atol=1e-4,
        rtol=0,
    )


# Networks


def test_stage_clip_is_the_shipped_model_or_a_clear_error():
    if (STAGE_FOLDER / STAGE_WEIGHTS).is_file():
        extractor = load_extractor("stage-clip", "cpu")
        frames = noise(extractor, 2)
        with torch.no_grad():
            torch.testing.assert_close(extractor(frames), Clip.stage().encode_frames(frames[:, 0]).frame)
    else:
        with pytest.raises(WeightsError, match=r"missing$"):
            load_extractor("stage-clip", "cpu")


def test_c3d_without_weights_says_so_and_is_always_the_same():
    state = torch.random.get_rng_state()
    extractor = C3DExtractor(device="cpu")
    assert torch.equal(torch.random.get_rng_state(), state), "loading must not disturb the caller's dice"
    assert extractor.metadata()["extractor"] == "c3d (untrained)"
    assert (extractor.dim, extractor.size, extractor.frames_per_clip) == (4096, 112, 16)
    assert sum(p.numel() for p in extractor.network.parameters()) == 27_655_936 + 8192 * 4096 + 4096


def test_c3d_ignores_layers_behind_fc6_and_names_what_is_missing(tmp_path):
    state = C3D(width=2, dim=10).state_dict()
    save_file(state | {"fc7.weight": torch.zeros(3, 3)}, tmp_path / "more.safetensors")
    assert C3DExtractor(tmp_path / "more.safetensors", "cpu").dim == 10
    save_file({k: v for k, v in state.items() if k != "conv4a.bias"}, tmp_path / "less.safetensors")
    with pytest.raises(ExtractorError, match=r"less.safetensors: conv4a.bias is missing, expected \(16,\)"):
        C3DExtractor(tmp_path / "less.safetensors", "cpu")
    (tmp_path / "text.safetensors").write_text("no weights at all")
    with pytest.raises(ExtractorError, match="not a safetensors file"):
        C3DExtractor(tmp_path / "text.safetensors", "cpu")


def test_video_features_are_the_models_own(folders):
    for kind, network, pool in (
        ("videomae", VideoMAEModel, lambda tokens: tokens.mean(1)),
        ("timesformer", TimesformerModel, lambda tokens: tokens[:, 0]),
    ):
        extractor = load_extractor(f"video:{folders / kind}", "cpu")
        frames = noise(extractor, 2)
        pixels = torch.stack([to_pixels(clip, 32, IMAGENET_NORMALISATION) for clip in frames])
        with torch.no_grad():
            tokens = network.from_pretrained(folders / kind).eval()(pixel_values=pixels).last_hidden_state
        torch.testing.assert_close(extractor(frames), pool(tokens))


def test_video_normalisation_comes_with_the_model(folders, tmp_path):
    VideoMAEModel.from_pretrained(folders / "videomae").save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}'
    )
    metadata = load_extractor(f"video:{tmp_path}", "cpu").metadata()
    assert metadata["normalisation"] == "mean 0.5 0.5 0.5 std 1 1 1"


def test_other_transformers_models_are_refused(folders):
    with pytest.raises(ExtractorError, match="is a clip model, expected one of videomae, timesformer"):
        load_extractor(f"video:{folders / 'clip'}", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_features_match_the_cpu_and_do_not_depend_on_neighbours(folders):
    for spec in every_extractor(folders):
        cpu, gpu = load_extractor(spec, "cpu"), load_extractor(spec, "cuda")
        frames = noise(cpu, 8)
        together, alone = gpu(frames), torch.cat([gpu(clip[None]) for clip in frames])
        assert (together - alone).abs().max() <= 1e-5, spec
        torch.testing.assert_close(together.cpu(), cpu(frames), atol=2e-2, rtol=2e-2)
