"""The page of moments: what is in it, that it asks nobody for anything, which videos go in as they are."""

import base64
import re
from html.parser import HTMLParser

import av
import numpy as np
import pytest

from vmrlib import moments_page
from vmrlib.data.video import write_video
from vmrlib.features.decode import probe, read_frames
from vmrlib.finding import Found
from vmrlib.moments_page import Source, page, played_as, small_copy, video_source, write_page

NASTY = "</script><img src=x onerror=alert(1)> \"double\" 'single' & {ROWS} @@ROWS@@"


def found_in(video, query="a red star", duration=8.0, moments=((2.0, 5.0, 0.91), (6.0, 7.5, 0.4))) -> Found:
    return Found(str(video), query, duration, np.zeros(0), np.zeros(0), moments)


def grey_ramp(seconds=4, fps=10, height=48, width=64):
    """Frames whose grey tells their second: 20 + 20 x second."""
    for k in range(seconds * fps):
        yield np.full((height, width, 3), 20 + 20 * (k // fps), dtype=np.uint8)


def write(path, codec="libx264", pix_fmt="yuv420p", first_tick=0, seconds=4, fps=10):
    """A small video of any codec and container, whose clock begins at `first_tick` frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for k, image in enumerate(grey_ramp(seconds, fps)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts = first_tick + k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", grey_ramp(), fps=10)


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside of style and script."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.inside = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("style", "script"):
            self.text.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def test_bars_stand_at_the_seconds_of_the_moments():
    reader = Reader(page(found_in("film.mp4"), Source("data:,")))
    assert [(row["data-start"], row["data-end"]) for row in reader.all("li")] == [
        ("2.000", "5.000"),
        ("6.000", "7.500"),
    ]
    bars = [each["style"] for each in reader.all("div") if each.get("class") == "bar"]
    # 2 s of 8 s are a quarter, 3 s three eighths; 6 s three quarters
    assert bars == ["left:25.000%;width:37.500%", "left:75.000%;width:18.750%"]
    assert reader.all("button")[0]["aria-label"] == "Play moment 1: 2.0 to 5.0 s, score 0.91"


def test_the_query_is_text_and_nothing_else():
    plain, nasty = (Reader(page(found_in("film.mp4", query), Source("data:,"))) for query in ("a", NASTY))
    assert [tag for tag, _ in nasty.tags] == [tag for tag, _ in plain.tags]
    assert sum(NASTY in text for text in nasty.text) >= 1
    assert nasty.text.count(f"“{NASTY}”") == 1


def test_a_file_name_is_text_too():
    reader = Reader(page(found_in("a <b>'&.mp4"), Source('x" onerror="alert(1)')))
    assert any("a <b>'&.mp4" in text for text in reader.text) and not reader.all("b")[2:]
    (video,) = reader.all("video")
    assert video["src"] == 'x" onerror="alert(1)' and "onerror" not in video


def test_the_page_names_no_address_on_the_network(film, tmp_path):
    html = write_page(tmp_path / "page.html", found_in(film)).read_text(encoding="utf-8")
    assert "default-src 'none'" in html
    without_video = re.sub(r'src="data:[^"]*"', "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link", without_video.replace("// somebody", ""))


def test_the_video_in_the_page_is_the_file(film, tmp_path):
    html = write_page(tmp_path / "deep" / "page.html", found_in(film)).read_text(encoding="utf-8")
    (video,) = Reader(html).all("video")
    head, _, content = video["src"].partition(",")
    assert head == "data:video/mp4;base64"
    assert base64.b64decode(content) == film.read_bytes()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("name", "codec", "expected"),
    [
        ("a.mp4", "libx264", "video/mp4"),
        ("a.webm", "libvpx-vp9", "video/webm"),
        ("a.webm", "libvpx", "video/webm"),
        ("a.mkv", "libx264", ""),
        ("a.avi", "mpeg4", ""),
        ("a.mp4", "mpeg4", ""),
    ],
)
def test_what_browsers_play_goes_in_as_it_is(tmp_path, name, codec, expected):
    assert played_as(write(tmp_path / name, codec, seconds=1)) == expected


def test_fine_colours_and_a_late_clock_are_encoded_again(tmp_path):
    assert played_as(write(tmp_path / "fine.mp4", pix_fmt="yuv444p", seconds=1)) == ""
    late = write(tmp_path / "late.mkv", first_tick=20)
    assert probe(late).start == pytest.approx(2.0, abs=0.01)


def test_a_copy_shows_the_same_at_the_same_second(tmp_path):
    late = write(tmp_path / "late.mkv", first_tick=20)  # the ramp begins at 2 s
    copy = small_copy(late, tmp_path / "copy.mp4")
    times = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    greys = read_frames(copy, times).mean(axis=(1, 2, 3))
    assert greys == pytest.approx([20, 20, 20, 40, 60, 80], abs=4)
    assert played_as(copy) == "video/mp4"
    assert probe(copy).duration == pytest.approx(probe(late).duration, abs=0.11)


def test_a_copy_is_small_and_keeps_its_shape(tmp_path):
    big = write_video(tmp_path / "big.mp4", grey_ramp(1, 40, 722, 1282), fps=40)
    info = probe(small_copy(big, tmp_path / "copy.mp4"))
    assert (info.width, info.height) == (640, 360) and info.fps == pytest.approx(25)


def test_a_large_video_is_linked_from_the_page(film, tmp_path, monkeypatch):
    monkeypatch.setattr(moments_page, "LARGEST", 100)
    video = tmp_path / "videos" / "a b#1.mp4"
    video.parent.mkdir()
    video.write_bytes(film.read_bytes())
    source = video_source(video, tmp_path / "pages" / "page.html")
    assert source.url == "./../videos/a%20b%231.mp4" and "a b#1.mp4" in source.note


def test_a_large_copy_lies_beside_the_page_and_replaces_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(moments_page, "LARGEST", 100)
    video = write(tmp_path / "film.mkv", seconds=1)
    (tmp_path / "film.mp4").write_bytes(b"somebody's")
    source = video_source(video, tmp_path / "film.html")
    assert source.url == "./film-copy.mp4" and (tmp_path / "film.mp4").read_bytes() == b"somebody's"
    assert played_as(tmp_path / "film-copy.mp4") == "video/mp4"


@pytest.mark.parametrize("duration", [0.3, 7.7, 90, 5400, 10**6])
def test_there_are_few_ticks_and_all_lie_in_the_video(duration):
    reader = Reader(page(found_in("film.mp4", duration=duration, moments=()), Source("data:,")))
    places = [
        float(re.fullmatch(r"left:(.*)%", each["style"])[1])
        for each in reader.all("span")
        if each.get("style")
    ]
    assert 3 <= len(places) <= 13 and places[0] == 0 and places[-1] <= 100


def test_notes_and_model_are_told():
    found = Found("film.mp4", "q", 3.0, np.zeros(0), np.zeros(0), (), "msat, trained", ("zebra",), True)
    text = " ".join(Reader(page(found, Source("data:,", "Shown is a copy."))).text)
    assert "msat, trained" in text and "does not know: zebra" in text and "Shown is a copy." in text
