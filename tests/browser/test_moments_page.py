"""The page of moments in Chromium: click and keys play moments, the axis seeks, nothing is fetched."""

import shutil
import time

import av
import numpy as np
import pytest
from playwright.sync_api import expect

from vmrlib.data.video import write_video
from vmrlib.finding import Found
from vmrlib.moments_page import write_page

NASTY = "</script><script>window.broken = 1</script><img src='http://example.invalid/x.png'> \"it's\" & so on"
MOMENTS = ((12.0, 13.0, 0.93), (3.0, 6.5, 0.58), (18.5, 20.0, 0.2))


def frames(seconds=20, fps=10, size=96):
    """A white bar that moves from left to right, once through the picture in the whole video."""
    for k in range(seconds * fps):
        image = np.full((size, size * 2, 3), 40, dtype=np.uint8)
        place = k * (2 * size - 8) // (seconds * fps)
        image[:, place : place + 8] = 255
        yield image


@pytest.fixture(scope="module", params=["mp4", "mkv", "webm", "linked"])
def written(request, tmp_path_factory):
    """The page of a video that goes in as it is, of one encoded again, and of one that is linked."""
    folder = tmp_path_factory.mktemp("page")
    video = write_video(folder / "film é #1.mp4", frames(), fps=10)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "mkv":
            with av.open(str(folder / "film.mkv"), "w") as out, av.open(str(video)) as source:
                stream = out.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = stream
                        out.mux(packet)
            video = folder / "film.mkv"
        elif request.param == "webm":
            with av.open(str(folder / "film.webm"), "w") as out:
                stream = out.add_stream("libvpx-vp9", rate=10)
                stream.width, stream.height, stream.pix_fmt = 192, 96, "yuv420p"
                for image in frames():
                    out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                out.mux(stream.encode())
            video = folder / "film.webm"
        elif request.param == "linked":
            patch.setattr("vmrlib.moments_page.LARGEST", 1000)
        found = Found(str(video), NASTY, 20.0, np.zeros(0), np.zeros(0), MOMENTS, "a model")
        path = write_page(folder / "pages" / "page.html", found)
    if request.param != "linked":
        moved = tmp_path_factory.mktemp("elsewhere") / "page.html"
        path = shutil.move(path, moved)  # the page needs nothing but itself
    return path


@pytest.fixture
def page(browser, written):
    """The page, opened from its file; every request and error is recorded in `page.asked`, `page.failed`."""
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    page = context.new_page()
    page.asked, page.failed = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.failed.append(str(error)))
    page.on("console", lambda message: page.failed.append(message.text) if message.type == "error" else None)
    page.goto(written.as_uri())
    wait(page, "document.getElementById('video').readyState >= 2")
    yield page
    context.close()


def wait(page, condition: str) -> None:
    """Returns when the condition holds. Playwright's own waiting evaluates a text, which the page forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def second(page) -> float:
    return page.evaluate("document.getElementById('video').currentTime")


def place_of_bar(page) -> float:
    """The second that the shown frame belongs to, read off the white bar in its picture."""
    return page.evaluate(
        """() => {
            const video = document.getElementById("video"), canvas = document.createElement("canvas");
            canvas.width = 192; canvas.height = 96;
            const context = canvas.getContext("2d");
            context.drawImage(video, 0, 0, 192, 96);
            const row = context.getImageData(0, 48, 192, 1).data;
            let sum = 0, weights = 0;
            for (let x = 0; x < 192; x++) if (row[4 * x] > 128) { sum += x; weights += 1; }
            return (sum / weights - 3.5) / 184 * 20;
        }"""
    )


def test_a_click_plays_the_moment_and_stops_at_its_end(page):
    page.get_by_role("button", name="Play moment 1").click()
    expect(page.get_by_role("status")).to_have_text("Playing moment 1: 12.0 to 13.0 s, score 0.93")
    assert second(page) >= 12
    wait(page, "document.getElementById('video').paused")
    assert 13.0 <= second(page) < 13.3
    expect(page.get_by_role("status")).to_have_text("")


def test_a_click_on_the_axis_goes_to_that_second_and_shows_its_frame(page):
    track = page.locator(".track").first
    box = track.bounding_box()
    track.click(position={"x": box["width"] * 0.4, "y": box["height"] / 2})
    assert second(page) == pytest.approx(8.0, abs=0.05)
    wait(page, "!document.getElementById('video').seeking")
    page.wait_for_timeout(100)
    if page.evaluate("document.getElementById('video').src").startswith("data:"):
        # the pixels of a linked file may not be read
        assert place_of_bar(page) == pytest.approx(8.0, abs=0.3)
    head = page.locator("#playhead").bounding_box()
    assert head["x"] + 1 == pytest.approx(box["x"] + 0.4 * box["width"], abs=2)


def test_everything_works_from_the_keyboard(page):
    page.keyboard.press("2")
    wait(page, "document.getElementById('video').currentTime >= 3")
    assert second(page) < 6.5
    page.keyboard.press("Space")
    assert page.evaluate("document.getElementById('video').paused")
    before = second(page)
    page.keyboard.press("ArrowRight")
    assert second(page) == pytest.approx(before + 1, abs=0.05)
    page.get_by_role("button", name="Play moment 1").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Play moment 2")
    page.keyboard.press("Enter")
    wait(page, "Math.abs(document.getElementById('video').currentTime - 3) < 1")


def test_bars_lie_at_their_seconds_and_the_query_is_text(page):
    for (start, end, _), track in zip(MOMENTS, page.locator(".track").all(), strict=True):
        line, bar = track.bounding_box(), track.locator(".bar").bounding_box()
        assert bar["x"] - line["x"] == pytest.approx(line["width"] * start / 20, abs=1)
        assert bar["width"] == pytest.approx(line["width"] * (end - start) / 20, abs=1)
    assert page.locator("h1").inner_text() == f"“{NASTY}”"
    assert page.evaluate("window.broken") is None


def test_nothing_is_fetched_but_the_page_and_its_video(page):
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert page.failed == []
    assert all(url.startswith(("file:", "data:")) for url in page.asked)


def test_on_a_small_screen_nothing_is_cut_off(page):
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
