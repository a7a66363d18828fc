"""A checkpoint on files of any length, container and frame rate: windows, features, merging."""

import math
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vmrlib import localiser
from vmrlib.checkpoints import Checkpoint
from vmrlib.configuration import PRESETS
from vmrlib.data.store import FeatureMismatch
from vmrlib.features import Extractor
from vmrlib.features.extract import extract_video
from vmrlib.localiser import extractors_of, localise, merge, read_windows, unknown_words, window_spans
from vmrlib.text import Vocabulary, WordVectors

RED, GREEN = (220, 30, 30), (30, 160, 30)
WORDS = WordVectors(["red", "blue", "a"], np.eye(3, 8, dtype=np.float32))


class Colours(Extractor):
    """The mean colour of the middle frame of a clip."""

    name, dim, size, frames_per_clip, normalisation = "colours", 3, 16, 1, "0..1"

    def features(self, frames):
        return frames.float().mean(dim=(1, 2, 3)) / 255


@pytest.fixture(autouse=True)
def only_colours(monkeypatch):
    """Every specification of an extractor loads `Colours`."""

    def load(spec, device=None, seconds_per_clip=None):
        return Colours(nn.Identity(), device, seconds_per_clip or 1.0)

    monkeypatch.setattr(localiser, "load_extractor", load)


class Reddest(nn.Module):
    """Finds the longest stretch of red clips; as sure as it is red. What it was asked is in `asked`."""

    def __init__(self, clips=16):
        super().__init__()
        self.config = SimpleNamespace(clips=clips, nms_iou=0.5)
        self.weight = nn.Parameter(torch.zeros(1))
        self.asked = []

    def localise(self, batch, top=5):
        self.asked.append(batch)
        answers = []
        for clips, duration in zip(batch["video"], batch["duration"].tolist(), strict=True):
            share = clips[:, 0] / clips[:, :3].sum(dim=1)
            red = (share > 0.6).nonzero()[:, 0]
            if not len(red):
                answers.append((torch.tensor([[0.0, duration]]).double(), torch.tensor([0.01]).double()))
                continue
            moment = torch.tensor([[red[0], red[-1] + 1.0]]).double() * duration / len(clips)
            answers.append((moment, (share[red].mean() * len(red) / 100)[None].double()))
        return answers


def checkpoint_of(model, window=8.0, seconds_per_clip=(0.5,)) -> Checkpoint:
    features = []
    for seconds in seconds_per_clip:
        metadata = Colours(nn.Identity(), "cpu", seconds).metadata()
        features.append(metadata | {"spec": "colours", "seconds_per_clip": seconds})
    about = {"model": "reddest", "features": features, "window": window, "dataset": {"name": "colours"}}
    return Checkpoint(model, about, WORDS, Vocabulary(["<pad>", "red", "<unk>"]))


def colours(seconds, fps, red):
    """(time, frame): green, but red from red[0] to red[1] seconds."""
    for k in range(round(seconds * fps)):
        colour = RED if red[0] <= k / fps < red[1] else GREEN
        yield k / fps, np.full((64, 96, 3), colour, dtype=np.uint8)


def write(path, seconds=34, fps=8, red=(20.5, 23.0), codec="libx264", drop=lambda k: False):
    """A film in any container; frames that `drop` names are left out, so that the rate varies."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k, (_, image) in enumerate(colours(seconds, fps, red)):
            if not drop(k):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
                frame.pts = k
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def find_red(path, checkpoint, top=5):
    windows = list(read_windows(path, checkpoint, extractors_of(checkpoint, "cpu")))
    return localise(windows, "a red one", checkpoint, top)


# --- windows


def test_a_video_of_less_than_one_and_a_half_windows_is_one_window():
    assert window_spans(35.9, 24, 0.5) == [(0.0, 35.9)]
    assert window_spans(3.0, 24, 0.5) == [(0.0, 3.0)]
    assert window_spans(7200.0, None, 0.5) == [(0.0, 7200.0)]


def test_longer_videos_get_windows_that_overlap_by_half():
    assert window_spans(36.0, 24, 0.5) == [(0, 24), (12, 36)]
    assert window_spans(48.0, 24, 0.5) == [(0, 24), (12, 36), (24, 48)]
    # 26 s to go in steps of at most 12: three steps of 8.67 s, on the grid of half seconds
    assert window_spans(50.0, 24, 0.5) == [(0, 24), (8.5, 32.5), (17.5, 41.5), (26, 50)]
    assert len(window_spans(600.0, 24, 0.5)) == 49


def test_long_shots_are_windows_and_short_ones_stay_together():
    assert window_spans(72.0, 24, 0.5, [24.0, 48.0]) == [(0, 24), (24, 48), (48, 72)]
    assert window_spans(60.0, 24, 0.5, [5.0, 30.0, 33.0, 55.0]) == [(0, 30), (30, 60)]
    assert window_spans(72.0, 24, 0.5, [24.0]) == [(0, 24), (24, 48), (36, 60), (48, 72)]
    assert window_spans(72.0, None, 0.5, [24.0]) == [(0, 72)]


@given(st.floats(1, 5000), st.floats(4, 300), st.sampled_from([0.1, 0.5, 1.0]), st.floats(0, 1))
def test_every_moment_of_half_a_window_lies_whole_in_one(duration, length, step, place):
    spans = window_spans(duration, length, step)
    start = place * max(duration - length / 2, 0)
    end = min(start + length / 2 - 2 * step, duration)
    assert any(a <= start + step / 2 and end <= b + step / 2 for a, b in spans)
    assert spans == sorted(spans) and spans[0][0] == 0 and abs(spans[-1][1] - duration) <= step / 2 + 1e-9
    assert all(math.isclose(a / step, round(a / step), abs_tol=1e-6) for a, _ in spans)


def test_windows_hold_the_rows_that_extraction_of_the_whole_file_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(localiser, "video_cuts", lambda video, step: [])  # windows of equal length
    film = write(tmp_path / "film.mp4", seconds=18, red=(7, 10))
    checkpoint = checkpoint_of(Reddest())
    (extractor,) = extractors_of(checkpoint, "cpu")
    rows = nn.functional.normalize(extract_video(film, extractor).values, dim=1)
    windows = list(read_windows(film, checkpoint, [extractor]))
    assert [(window.start, window.end) for window in windows] == window_spans(18.0, 8.0, 0.5)
    for window in windows:
        first = round(window.start / 0.5)
        # 16 rows on 16 clips: each clip is its row
        assert torch.allclose(window.clips, rows[first : first + 16], atol=1e-6)


def test_only_the_features_of_about_a_window_are_in_memory(tmp_path, monkeypatch):
    film = write(tmp_path / "film.mp4", seconds=90, fps=2)
    most = 0
    original = localiser._Rows.between

    def watched(self, start, end):
        nonlocal most
        rows = original(self, start, end)
        most = max(most, len(self.rows))
        return rows

    monkeypatch.setattr(localiser._Rows, "between", watched)
    checkpoint = checkpoint_of(Reddest())
    for _ in read_windows(film, checkpoint, extractors_of(checkpoint, "cpu")):
        pass
    assert 16 <= most <= 16 + 8 + localiser.CLIPS


def test_several_extractors_are_put_side_by_side(tmp_path):
    film = write(tmp_path / "film.mp4", seconds=20, red=(14, 17))
    checkpoint = checkpoint_of(Reddest(), seconds_per_clip=(0.5, 1.0))
    windows = list(read_windows(film, checkpoint, extractors_of(checkpoint, "cpu")))
    assert all(window.clips.shape == (16, 2 * 3) for window in windows)
    assert find_red(film, checkpoint)[0][:2] == pytest.approx((14, 17), abs=0.5)


# --- moments


def test_merging_keeps_the_best_of_moments_that_overlap():
    found = [[10, 14, 0.5], [10.5, 14, 0.9], [40, 44, 0.7], [10, 13, 0.4]]
    moments = merge(torch.tensor(found).double(), 0.5, 5, 60.0)
    assert moments == [(10.5, 14.0, pytest.approx(0.9)), (40.0, 44.0, pytest.approx(0.7))]


def test_moments_are_cut_to_the_video_and_those_outside_go():
    found = torch.tensor([[-2.0, 3.0, 0.5], [58.0, 66.0, 0.4], [61.0, 64.0, 0.9], [5.0, 5.0, 0.8]]).double()
    assert [moment[:2] for moment in merge(found, 0.5, 5, 60.0)] == [(0.0, 3.0), (58.0, 60.0)]
    assert merge(found[2:], 0.5, 5, 60.0) == [(0.0, 60.0, 0.0)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("film.mp4", {}),
        ("film.mkv", {"fps": 30000 / 1001}),
        ("film.avi", {"codec": "mpeg4", "fps": 12}),
        ("film.webm", {"codec": "libvpx", "fps": 5}),
        ("varying.mp4", {"fps": 16, "drop": lambda k: k % 7 in (1, 2, 5) and k % 16}),
        ("slow.mkv", {"fps": 2}),
    ],
)
def test_the_red_moment_is_found_in_every_container_and_at_every_rate(tmp_path, name, options):
    film = write(tmp_path / name, **options)
    start, end, _ = find_red(film, checkpoint_of(Reddest()))[0]
    assert (start, end) == pytest.approx((20.5, 23.0), abs=0.51)


def test_a_moment_that_lies_across_a_window_s_edge_comes_from_the_window_that_holds_it(tmp_path):
    film = write(tmp_path / "film.mp4", seconds=24, fps=8, red=(6.5, 9.5))  # 0-8 cuts it, 4-12 holds it
    start, end, _ = find_red(film, checkpoint_of(Reddest()))[0]
    assert (start, end) == pytest.approx((6.5, 9.5), abs=0.51)


def test_the_model_sees_windows_in_batches_and_their_true_length(tmp_path, monkeypatch):
    monkeypatch.setattr(localiser, "BATCH", 2)
    film = write(tmp_path / "film.mp4", seconds=18, fps=2)
    model = Reddest()
    find_red(film, checkpoint_of(model))
    assert [len(batch["video"]) for batch in model.asked] == [2, 2]
    assert model.asked[0]["duration"].tolist() == [8.0, 8.0]
    assert model.asked[0]["words"].shape == (2, 3, 8) and model.asked[0]["word_mask"].all()
    assert not {"moments_cell", "hidden_words", "word_labels"} & model.asked[0].keys()


def test_a_video_shorter_than_a_clip_is_localised(tmp_path):
    film = write(tmp_path / "film.mp4", seconds=0.25, fps=8, red=(0, 1))
    assert find_red(film, checkpoint_of(Reddest()))[0][:2] == (0.0, 0.25)


@pytest.mark.parametrize("preset", ["stage", "acb_stage", "mmn_stage", "reloclnet_stage"])
def test_every_model_that_finds_moments_can_be_asked_about_a_film(tmp_path, preset):
    film = write(tmp_path / "film.mp4", seconds=20, fps=4)
    config = PRESETS[preset](dim_video=3, dim_words=8)
    found = find_red(film, checkpoint_of(config.build().eval()))
    assert len(found) > 1 and all(0 <= start < end <= 20 for start, end, _ in found)
    assert [score for *_, score in found] == sorted((score for *_, score in found), reverse=True)


# --- what does not fit


def test_a_model_that_finds_videos_is_named():
    checkpoint = checkpoint_of(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="reddest finds videos, not moments in one"):
        localise([], "a red one", checkpoint)


def test_unknown_words_are_named_once():
    checkpoint = checkpoint_of(Reddest())
    assert unknown_words("A zebra, a red zebra!", checkpoint) == ["zebra"]


@pytest.mark.parametrize("query", ["", " ", "?!", "..."])
def test_a_query_without_words_is_refused(query):
    with pytest.raises(ValueError, match="no words"):
        localise([], query, checkpoint_of(Reddest()))


def test_other_features_than_those_of_training_are_refused_and_both_are_named():
    checkpoint = checkpoint_of(Reddest())
    checkpoint.about["features"][0] |= {"weights_sha256": "abc", "size": 99, "vmrlib": "0.0.1"}
    message = "of colours.*weights_sha256 'abc' is needed, here it is '.*; size 99 is needed, here it is 16"
    with pytest.raises(FeatureMismatch, match=message) as error:
        extractors_of(checkpoint, "cpu")
    assert "vmrlib" not in str(error.value)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "does not say which features"),
        ([{"spec": "tacos_c3d", "dim": 4096}], "needs tacos_c3d features.*cannot be"),
    ],
)
def test_features_that_no_video_gives_are_told(features, message):
    checkpoint = checkpoint_of(Reddest())
    checkpoint.about["features"] = features
    with pytest.raises(FeatureMismatch, match=message):
        extractors_of(checkpoint, "cpu")


def test_another_extractor_may_be_named_if_it_makes_the_same_features():
    checkpoint = checkpoint_of(Reddest())
    checkpoint.about["features"][0]["spec"] = "clip:/gone/from/here"
    (extractor,) = extractors_of(checkpoint, "cpu", spec="clip:/it/is/here")
    assert extractor.seconds_per_clip == 0.5
    checkpoint.about["features"] *= 2
    with pytest.raises(FeatureMismatch, match="several extractors"):
        extractors_of(checkpoint, "cpu", spec="clip:/it/is/here")
