"""The frame shown at a time is the right one, in every kind of file; damage is told in one line."""

import json
import tracemalloc

import av
import numpy as np
import pytest
from barcoded_videos import (
    HEIGHT,
    WIDTH,
    barcode,
    encode,
    numbers,
    write,
    write_packed_bframes,
    write_packets,
)
from hypothesis import given
from hypothesis import strategies as st

from vmrlib.data.video import write_video
from vmrlib.features.decode import (
    DecodeError,
    clip_times,
    frame_times,
    iter_clips,
    probe,
    read_frames,
)

REGULAR = [40 * n for n in range(200)]
VARIABLE = np.cumsum(np.random.default_rng(0).integers(5, 160, 200)).tolist()
KINDS = {
    "b-frames.mp4": {"times_ms": REGULAR, "bf": "3"},
    "open-gop.mkv": {"times_ms": VARIABLE, "x264-params": "open-gop=1:bframes=5:b-pyramid=normal"},
    "variable-rate.mp4": {"times_ms": VARIABLE},
    "late-start.mkv": {"times_ms": [5000 + t for t in VARIABLE]},
    "one-key-frame.mp4": {"times_ms": REGULAR, "g": "1000"},
    "intra-refresh.mp4": {"times_ms": REGULAR, "x264-params": "intra-refresh=1:keyint=25"},
    "ten-bit.mkv": {"times_ms": VARIABLE, "pix_fmt": "yuv420p10le"},
    "hevc-ten-bit.mp4": {
        "times_ms": VARIABLE,
        "codec": "libx265",
        "pix_fmt": "yuv420p10le",
        "x265-params": "log-level=none:open-gop=1:keyint=25",
    },
    "vp9.webm": {"times_ms": VARIABLE, "codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"},
    "transport.ts": {"times_ms": REGULAR},
    "open-gop.ts": {"times_ms": REGULAR, "codec": "mpeg2video", "bframes": 2},
    "program.mpg": {"times_ms": REGULAR, "codec": "mpeg2video", "bframes": 2},
    "b-frames.avi": {"times_ms": REGULAR, "codec": "mpeg4", "bframes": 2},
    "flash.flv": {"times_ms": VARIABLE},
    "lossless-422.mkv": {"times_ms": VARIABLE, "codec": "ffv1", "pix_fmt": "yuv422p"},
    "raw.h264": {"times_ms": REGULAR},
}


@pytest.fixture(scope="module", params=KINDS)
def video(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("kinds") / request.param, **KINDS[request.param])


def shown_at(times: np.ndarray, when: np.ndarray) -> list[int]:
    """The definition: the last frame whose time is <= t, before the first the first."""
    return np.clip(np.searchsorted(times, when, side="right") - 1, 0, None).tolist()


def test_every_frame_is_found_at_its_own_time(video):
    times = frame_times(video)
    assert len(times) == 200 and (np.diff(times) > 0).all()
    assert numbers(read_frames(video, times)) == list(range(200))
    assert numbers(read_frames(video, times + 0.004)) == list(range(200))
    wanted = np.array(KINDS[video.name]["times_ms"]) / 1000
    np.testing.assert_allclose(np.diff(times), np.diff(wanted), atol=1.1e-3)


def test_sparse_times_in_any_order_give_what_decoding_all_gives(video):
    times = frame_times(video)
    everything = read_frames(video, times)
    rng = np.random.default_rng(1)
    for count in (1, 3, 9):
        when = rng.uniform(times[0] - 1, times[-1] + 1, count)
        np.testing.assert_array_equal(read_frames(video, when), everything[shown_at(times, when)])


def test_the_video_ends_where_its_last_frame_ends(video):
    info, times = probe(video), frame_times(video)
    assert (info.start, info.n_frames) == (times[0], 200)
    assert 0 < info.duration - times[-1] < 0.161
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert info.fps == pytest.approx(199 / (times[-1] - times[0]), rel=1e-6)


def test_packed_b_frames_are_shown_in_the_right_order(tmp_path):
    video = write_packed_bframes(tmp_path / "packed.avi")
    times = frame_times(video)
    np.testing.assert_allclose(np.diff(times), 0.1)
    assert numbers(read_frames(video, times)) == list(range(20))


def test_h264_b_frames_in_avi_keep_the_order_of_display(tmp_path):
    video = write(tmp_path / "x.avi", [100 * n for n in range(40)], rate=10, bf="3")
    with av.open(str(video)) as container:
        stamps = [frame.pts for frame in container.decode(video=0)]
    assert stamps != sorted(stamps)  # the container stores no presentation times
    times = frame_times(video)
    np.testing.assert_allclose(np.diff(times), 0.1)
    assert numbers(read_frames(video, times)) == list(range(40))


def test_times_that_go_back_are_followed_where_frames_are_not_reordered(tmp_path):
    packets = encode("mjpeg", 8, pix_fmt="yuvj420p")
    stamps = [1000, 1200, 1100, 1300, 1400, 1700, 1600, 1500]
    video = write_packets(tmp_path / "back.mkv", packets, stamps, "mjpeg")
    np.testing.assert_allclose(frame_times(video), 1 + np.arange(8) / 10)
    assert numbers(read_frames(video, np.arange(8) / 10 + 1.05)) == [0, 2, 1, 3, 4, 7, 6, 5]


def test_times_before_and_after_the_video_and_exactly_on_a_frame(tmp_path):
    video = write(tmp_path / "a.mkv", [1000, 1500, 2500])
    when = [-5, 0.999, 1.0, 1.499, 1.5, 2.499, 2.5, 99, float("inf")]
    assert numbers(read_frames(video, when)) == [0, 0, 0, 0, 1, 1, 2, 2, 2]
    assert read_frames(video, []).shape == (0, HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match="not a number"):
        read_frames(video, [float("nan")])


def test_a_frame_is_decoded_once_for_many_times(tmp_path):
    video = write(tmp_path / "a.mp4", [0, 1000])
    assert numbers(read_frames(video, [0.5, 1.5, 0.1, 1.2, 0.5])) == [0, 1, 0, 1, 0]


def test_odd_sizes_and_sparse_chroma_are_read_whole(tmp_path):
    image = np.zeros((35, 53, 3), dtype=np.uint8)
    image[:, -1] = image[-1] = (0, 255, 0)
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 53, 35, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    frame = read_frames(tmp_path / "odd.mkv", [0])[0]
    assert frame.shape == (35, 53, 3)
    assert frame[17, 52, 1] > 100 > frame[17, 40, 1]
    assert read_frames(tmp_path / "odd.mkv", [0], size=20).shape == (1, 20, 20, 3)


# ---- colour, rotation, size

COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [200, 30, 90], [128, 128, 128], [0] * 3, [255] * 3]
)


def coded_colours(path, red, blue, full, space):
    """A video of eight coloured columns, converted to YUV by the formulas of its matrix and range."""
    image = np.repeat(COLOURS, 16, axis=0)[None].repeat(64, axis=0) / 255
    luma = red * image[..., 0] + (1 - red - blue) * image[..., 1] + blue * image[..., 2]
    chroma_b, chroma_r = (image[..., 2] - luma) / 2 / (1 - blue), (image[..., 0] - luma) / 2 / (1 - red)
    y, c, offset = (255, 255, 0) if full else (219, 224, 16)
    planes = [y * luma + offset, (c * chroma_b + 128)[::2, ::2], (c * chroma_r + 128)[::2, ::2]]
    frame = av.VideoFrame(128, 64, "yuv420p")
    for plane, values in zip(frame.planes, planes, strict=True):
        buffer = np.zeros((plane.height, plane.line_size), dtype=np.uint8)
        buffer[:, : values.shape[1]] = values.round().clip(0, 255)
        plane.update(buffer.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        stream.codec_context.color_range = frame.color_range = 2 if full else 1
        if space is not None:
            stream.codec_context.colorspace = frame.colorspace = space
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize(
    ("red", "blue", "space"),
    [(0.299, 0.114, 5), (0.299, 0.114, None), (0.2126, 0.0722, 1), (0.2627, 0.0593, 9)],
    ids=["bt601", "untagged", "bt709", "bt2020"],
)
def test_colours_follow_the_matrix_and_range_of_the_file(tmp_path, red, blue, space, full):
    video = coded_colours(tmp_path / "c.mp4", red, blue, full, space)
    frame = read_frames(video, [0])[0].astype(int)
    assert abs(frame[32, 8::16] - COLOURS).max() <= 3


@pytest.mark.parametrize(("degrees", "corners"), [(0, "RGB."), (90, "G.RB"), (180, ".BGR"), (-90, "BR.G")])
def test_a_rotated_video_is_shown_upright(tmp_path, degrees, corners):
    image = np.zeros((64, 96, 3), dtype=np.uint8)
    image[:32, :48, 0] = image[:32, 48:, 1] = image[32:, :48, 2] = 255
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(degrees)  # counter-clockwise
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())

    for size in (None, 32):
        frame = read_frames(tmp_path / "turned.mp4", [0], size)[0]
        picked = [frame[y, x] for y in (2, -3) for x in (2, -3)]
        assert "".join("RGB"[p.argmax()] if p.max() > 128 else "." for p in picked) == corners
    info = probe(tmp_path / "turned.mp4")
    assert (info.width, info.height) == ((96, 64) if degrees in (0, 180) else (64, 96))


def test_crop_keeps_the_centre_and_squash_keeps_all(tmp_path):
    image = np.zeros((64, 192, 3), dtype=np.uint8)
    image[:, :64, 0] = image[:, 64:128, 1] = image[:, 128:, 2] = 255
    video = write_video(tmp_path / "wide.mp4", [image], 1)
    crop = read_frames(video, [0], size=32)[0].mean(axis=(0, 1))
    squash = read_frames(video, [0], size=33, fit="squash")[0].mean(axis=(0, 1))
    assert crop[1] > 240 > 20 > crop[[0, 2]].max()
    np.testing.assert_allclose(squash, 85, atol=6)
    with pytest.raises(ValueError, match="'stretch'"):
        read_frames(video, [0], size=32, fit="stretch")


# ---- writing


def test_written_frames_come_back(tmp_path):
    images = [barcode(n) for n in range(30)]
    video = write_video(tmp_path / "new" / "w.mp4", iter(images), 12.5)
    times = frame_times(video)
    np.testing.assert_allclose(times, np.arange(30) * 0.08)
    frames = read_frames(video, times)
    assert numbers(frames) == list(range(30))
    assert np.abs(frames.astype(int) - np.stack(images)).mean() < 2
    data = video.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can start before the end has come
    assert probe(video).duration == pytest.approx(2.4)


def test_ntsc_rates_are_kept_exactly(tmp_path):
    video = write_video(tmp_path / "n.mp4", [barcode(n) for n in range(4)], 30000 / 1001)
    np.testing.assert_allclose(frame_times(video), np.arange(4) * 1001 / 30000, atol=1e-9)


@pytest.mark.parametrize(
    "frames", [[], [np.zeros((5, 4, 3), np.uint8)], [np.zeros((4, 4, 3))], [barcode(0), barcode(0)[:8]]]
)
def test_nothing_is_left_of_a_video_that_cannot_be_written(tmp_path, frames):
    with pytest.raises(ValueError, match=r"w\.mp4: "):
        write_video(tmp_path / "w.mp4", frames, 10)
    assert list(tmp_path.iterdir()) == []


# ---- damage


def audio(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def damaged(folder):
    whole = write(folder / "whole.mp4", REGULAR).read_bytes()
    (folder / "whole.mp4").unlink()
    contents = {
        "empty.mp4": b"",
        "text.txt": b"hello\n" * 100,
        "text.mp4": b"hello\n" * 100,
        "zeros.mkv": bytes(10000),
        "random.avi": np.random.default_rng(0).bytes(10000),
        "no-index.mp4": whole[: len(whole) // 2],  # the index is at the end
        "titles.srt": b"1\n00:00:01,000 --> 00:00:02,000\nhello\n",
        "list.m3u8": b"#EXTM3U\n#EXTINF:5,\nother.ts\n",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    audio(folder / "sound.mp4")
    return [*contents, "sound.mp4"]


def test_files_without_video_give_one_clear_line(tmp_path, capfd):
    for name in damaged(tmp_path):
        for function in (probe, frame_times, lambda path: read_frames(path, [0])):
            with pytest.raises(DecodeError) as error:
                function(tmp_path / name)
            assert str(error.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        probe(tmp_path / "nowhere.mp4")


def test_a_file_that_is_cut_is_read_up_to_the_cut(tmp_path):
    data = write_video(tmp_path / "w.mp4", [barcode(n) for n in range(100)], 10).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    times = frame_times(tmp_path / "cut.mp4")
    assert 0 < len(times) < 100
    # just before the cut a B-frame may be missing whose references are there
    assert numbers(read_frames(tmp_path / "cut.mp4", times)) == np.rint(times * 10).astype(int).tolist()
    assert probe(tmp_path / "cut.mp4").duration == pytest.approx(times[-1] + 0.1)


def test_damage_in_the_middle_is_survived(tmp_path):
    data = bytearray(write(tmp_path / "w.mkv", REGULAR).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    (tmp_path / "hole.mkv").write_bytes(data)
    times = frame_times(tmp_path / "hole.mkv")
    assert 100 < len(times) < 200
    found = numbers(read_frames(tmp_path / "hole.mkv", times))
    assert found[0] == 0 and found[-1] == 199


def test_damaged_pictures_are_always_the_same_however_they_are_reached(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (6, 6, 8, 3), dtype=np.uint8)
    images = [
        np.kron(np.roll(images[n // 20], n, axis=1), np.ones((12, 16, 1), np.uint8)) for n in range(120)
    ]
    video = write_video(tmp_path / "w.mp4", images, 5)
    data = bytearray(video.read_bytes())
    for place in rng.integers(len(data) // 3, len(data) * 2 // 3, 60):
        data[place] ^= 255
    video.write_bytes(data)
    times = frame_times(video)
    everything = read_frames(video, times)
    np.testing.assert_array_equal(read_frames(video, times), everything)
    assert (
        len(times) < 120
        or max(np.abs(f.astype(int) - i).mean() for f, i in zip(everything, images, strict=True)) > 9
    )
    for _ in range(10):
        when = rng.uniform(0, times[-1] + 1, 2)
        np.testing.assert_array_equal(read_frames(video, when), everything[shown_at(times, when)])


def test_wrong_stream_is_an_error_that_lists_the_right_ones(tmp_path):
    video = write(tmp_path / "a.mp4", REGULAR[:5])
    with pytest.raises(DecodeError, match=r"stream 3 is not a video stream \(these are: 0\)"):
        probe(video, stream=3)


# ---- clips


def test_clips_are_those_whose_centre_is_in_the_video():
    centres, frames = clip_times(30.72, 2.0)
    np.testing.assert_array_equal(centres, np.arange(15) * 2 + 1)
    np.testing.assert_array_equal(frames, centres[:, None])
    centres, frames = clip_times(4.0, 2.0, stride=1.0, frames_per_clip=4)
    np.testing.assert_array_equal(centres, [1, 2, 3])
    np.testing.assert_array_equal(frames[1], [1.25, 1.75, 2.25, 2.75])
    assert clip_times(0.04, 2.0)[0].tolist() == [1.0]
    assert clip_times(3.0, 2.0)[0].tolist() == [1.0]
    with pytest.raises(ValueError, match="window 0"):
        clip_times(5.0, 0)


@given(st.floats(0.01, 1e4), st.floats(0.1, 30), st.floats(0.1, 30))
def test_every_clip_but_the_first_has_its_centre_inside(duration, window, stride):
    centres, _ = clip_times(duration, window, stride)
    assert (centres[1:] < duration).all()
    assert centres[-1] + stride >= duration - 1e-5 * stride


@pytest.mark.parametrize(
    ("window", "stride", "count"), [(0.4, 0.4, 1), (0.5, 0.2, 4), (0.2, 0.7, 3), (3.0, 0.1, 5)]
)
def test_clips_in_batches_are_the_frames_at_their_times(tmp_path, window, stride, count):
    video = write(tmp_path / "a.mp4", VARIABLE[:60])
    centres, samples = clip_times(probe(video).duration, window, stride, count)
    batches = list(iter_clips(video, window, stride, count, size=40, batch=3, fit="squash"))
    assert {len(frames) for _, frames in batches[:-1]} <= {3}
    np.testing.assert_array_equal(np.concatenate([c for c, _ in batches]), centres)
    want = read_frames(video, samples.ravel(), size=40, fit="squash").reshape(*samples.shape, 40, 40, 3)
    np.testing.assert_array_equal(np.concatenate([f for _, f in batches]), want)


# ---- real files


def test_real_files_have_the_reference_times(mirror):
    records = json.loads((mirror / "clips" / "clips.json").read_text())
    files = [record for record in records if (mirror / "clips" / record["file"]).exists()]
    assert len(files) >= 20
    for record in files:
        path = mirror / "clips" / record["file"]
        times, info = frame_times(path), probe(path)
        assert len(times) == info.n_frames == record["decoded_frames"], path
        np.testing.assert_allclose(times[[0, -1]], [record["first_pts"], record["last_pts"]], atol=6e-4)
        assert abs(info.duration - record["container_duration"]) < 0.07, path


@pytest.mark.parametrize("stream", [0, 3])
def test_both_streams_of_a_real_file_have_the_reference_times(mirror, stream):
    folder = mirror / "clips" / "free"
    reference = json.loads((folder / f"nasa_13013.mp4.stream{stream}.all_frames_info.json").read_text())
    times = frame_times(folder / "nasa_13013.mp4", stream)
    np.testing.assert_allclose(times, [float(frame["pts_time"]) for frame in reference], atol=1e-6)
    info = probe(folder / "nasa_13013.mp4", stream)
    assert (info.stream, info.streams) == (stream, (0, 3))
    assert (info.width, info.height) == ((320, 180) if stream == 0 else (480, 270))


def test_seeking_in_real_files_gives_what_decoding_all_gives(mirror):
    rng = np.random.default_rng(0)
    for name in ("free/av1_video.mkv", "free/h265_video.mp4", "research_only/mmaction2_demo.mp4"):
        path = mirror / "clips" / name
        if not path.exists():
            continue
        times = frame_times(path)
        everything = read_frames(path, times, size=64, fit="squash")
        for count in (1, 4):
            when = rng.uniform(-1, times[-1] + 1, count)
            got = read_frames(path, when, size=64, fit="squash")
            np.testing.assert_array_equal(got, everything[shown_at(times, when)])


def test_memory_does_not_grow_with_the_video(tmp_path):
    peaks = []
    for count in (50, 400):
        video = write(tmp_path / f"{count}.mp4", [200 * n for n in range(count)])
        tracemalloc.start()
        for _, frames in iter_clips(video, 0.2, size=96, batch=4):
            assert frames.shape[1:] == (1, 96, 96, 3)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000
