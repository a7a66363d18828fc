"""A web page of one file with a video and the moments found in it: read, click, watch.

The video is inside the page (base64), so that the page can be sent to somebody or opened without a network;
it loads nothing from anywhere. H.264 in mp4 and VP8, VP9, AV1 in webm go in as they are. Anything else (mkv,
avi, HEVC, a file whose clock does not begin at 0) is encoded again, small and without sound, to what
browsers play. A video above 50 MB would make a page that browsers load slowly: it is linked, and must stay
where it is.
"""

import base64
import os
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import av

from vmrlib.data.files import write_bytes, write_text
from vmrlib.data.video import write_video
from vmrlib.features.decode import iter_clips, probe
from vmrlib.finding import Found

LARGEST = 50 * 10**6  # bytes of a video that goes into the page
SIDE, FPS = 360, 25  # of the short side of a copy, in pixels; its frames per second at most
CODECS = {"video/mp4": {"h264", "av1"}, "video/webm": {"vp8", "vp9", "av1"}}
PIXELS = {"yuv420p", "yuvj420p"}  # ten bits and finer colours are not played everywhere
LATEST_START = 0.1  # seconds; players count a file that begins later from another zero than we do
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)  # seconds


@dataclass(frozen=True)
class Source:
    """What stands in `src` of the video element, and what to tell about it."""

    url: str
    note: str = ""


def write_page(path: str | Path, found: Found) -> Path:
    """Returns `path` after writing the page of what was found; it appears whole or not at all.

    Raises DecodeError where the video cannot be read and OSError where the page cannot be written.
    """
    path = Path(path)
    write_text(path, page(found, video_source(found.video, path)))
    return path


def video_source(video: str | Path, page_path: str | Path) -> Source:
    """The video as a data URL, or a link to it from where the page lies; copied first where it must be."""
    video, page_path = Path(video), Path(page_path)
    media_type = played_as(video)
    if media_type and video.stat().st_size > LARGEST:
        return Source(_link(video, page_path), f"The page plays {video.name} from its place beside it.")
    if media_type:
        return Source(_data_url(video.read_bytes(), media_type))
    with tempfile.TemporaryDirectory() as folder:
        content = small_copy(video, Path(folder) / "copy.mp4").read_bytes()
    note = "Shown is a small copy without sound."
    if len(content) <= LARGEST:
        return Source(_data_url(content, "video/mp4"), note)
    copy = page_path.with_suffix(".mp4")
    if copy.exists():  # it may be anybody's, even the video itself under another name
        copy = page_path.with_name(f"{page_path.stem}-copy.mp4")
    write_bytes(copy, content)
    return Source(_link(copy, page_path), f"{note} The page plays it from {copy.name}, beside it.")


def played_as(video: Path) -> str:
    """The media type of a file that browsers play as it is and on our clock, else nothing."""
    with open(video, "rb") as file:
        head = file.read(64)
    if head[4:8] == b"ftyp":
        media_type = "video/mp4"
    elif head.startswith(b"\x1aE\xdf\xa3") and b"webm" in head:
        media_type = "video/webm"
    else:
        return ""
    info = probe(video)
    known = info.codec in CODECS[media_type] and info.pix_fmt in PIXELS
    return media_type if known and abs(info.start) <= LATEST_START else ""


def small_copy(video: Path, out: Path) -> Path:
    """Returns `out`, an H.264 mp4 of the video on its clock: short side 360 pixels, 25 frames/s at most."""
    info = probe(video)
    fps = min(round(max(info.fps, 1)), FPS)
    scale = min(1, SIDE / min(info.width, info.height))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in (info.width, info.height))

    def frames():
        for _, clips in iter_clips(video, 1 / fps, batch=1):
            full = av.VideoFrame.from_ndarray(clips[0, 0], format="rgb24")
            yield full.reformat(width=width, height=height).to_ndarray()

    return write_video(out, frames(), fps, crf=26)


def page(found: Found, source: Source) -> str:
    """The HTML of the page."""
    duration = max(found.duration, 1e-3)
    about = f"{Path(found.video).name}, {found.duration:.1f} s. {len(found.moments)} moments, best first."
    if found.model:
        about += f" Found by {found.model}."
    rows = "".join(_row(rank, moment, duration) for rank, moment in enumerate(found.moments, start=1))
    notes = "".join(f"<p class='note'>{escape(note)}</p>\n" for note in (source.note, *found.notes) if note)
    parts = {
        "QUERY": escape(found.query),
        "ABOUT": escape(about),
        "VIDEO": escape(source.url),
        "DURATION": f"{duration:.3f}",
        "ROWS": rows,
        "TICKS": _ticks(duration),
        "NOTES": notes,
    }
    # one pass, so that a query that reads {ROWS} stays a query
    pieces = PAGE.split("@@")
    return "".join(parts[piece] if odd % 2 else piece for odd, piece in enumerate(pieces))


def _row(rank: int, moment: tuple[float, float, float], duration: float) -> str:
    start, end, score = moment
    left, width = 100 * start / duration, 100 * (end - start) / duration
    text = f"{start:.1f} to {end:.1f} s"
    return (
        f"<li data-start='{start:.3f}' data-end='{end:.3f}'>"
        f"<button type='button' aria-label='Play moment {rank}: {text}, score {score:.2f}'>"
        f"<b>{rank}</b><span>{text}</span><span class='score'>{score:.2f}</span></button>"
        f"<div class='track'><div class='bar' style='left:{left:.3f}%;width:{width:.3f}%'></div></div></li>\n"
    )


def _ticks(duration: float) -> str:
    step = next((step for step in TICKS if duration / step <= 12), TICKS[-1])
    while duration / step > 12:
        step *= 2
    seconds = [k * step for k in range(int(duration / step + 1e-6) + 1)]
    return "".join(f"<span style='left:{100 * s / duration:.3f}%'>{s:g}</span>" for s in seconds)


def _data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _link(video: Path, page_path: Path) -> str:
    """The address of a video as seen from the page."""
    video = video.resolve()
    try:
        relative = os.path.relpath(video, page_path.resolve().parent)
    except ValueError:  # on another drive
        return video.as_uri()
    # "./": a name with a colon would be read as an address
    return "./" + quote(Path(relative).as_posix())


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; media-src data: 'self' file:;
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@@QUERY@@</title>
<style>
:root { --ink: #22303c; --grey: #5b6670; --pale: #eef1f4; --best: #d55e00; --other: #edb78f; --now: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: white; font: 16px/1.4 "DejaVu Sans", Verdana, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.25rem; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; color: var(--grey); font-size: .9rem; overflow-wrap: anywhere; }
video { display: block; width: 100%; max-height: 60vh; background: black; border-radius: 6px; }
#moments { position: relative; margin-top: 1rem; }
ol { list-style: none; margin: 0; padding: 0; }
li, #axis { display: grid; grid-template-columns: 13.5rem 1fr; gap: .75rem; align-items: center; }
li { margin-bottom: .25rem; }
button { position: relative; z-index: 1; display: flex; gap: .6rem; width: 100%; padding: .3rem .6rem;
 font: inherit; font-size: .9rem;
 color: var(--ink); background: var(--pale); border: 1px solid transparent; border-radius: 6px;
 cursor: pointer; }
button:hover { border-color: var(--grey); }
button:focus-visible, video:focus-visible { outline: 3px solid var(--now); outline-offset: 1px; }
button .score { margin-left: auto; color: var(--grey); }
li.playing button { background: white; border-color: var(--now); }
.track { position: relative; height: 1.5rem; background: var(--pale); border-radius: 3px; cursor: pointer; }
.bar { position: absolute; top: 0; bottom: 0; min-width: 5px; background: var(--other); border-radius: 3px; }
li:first-child .bar { background: var(--best); }
#playhead { position: absolute; top: 0; bottom: 0; width: 2px; background: var(--now); pointer-events: none; }
#axis { font-size: .8rem; color: var(--grey); margin-bottom: 1rem; }
#axis > :first-child { text-align: right; }
#ticks { position: relative; height: 1.4rem; border-top: 1px solid var(--grey); }
#ticks span { position: absolute; top: .1rem; transform: translateX(-50%); }
@media (max-width: 40rem) {
 li, #axis { grid-template-columns: 1fr; gap: .15rem; }
 #axis > :first-child { display: none; }
}
</style>
</head>
<body>
<main>
<h1>“@@QUERY@@”</h1>
<p>@@ABOUT@@</p>
<video id="video" controls playsinline preload="auto" src="@@VIDEO@@"></video>
<p id="status" role="status"></p>
<div id="moments" data-duration="@@DURATION@@">
<ol>
@@ROWS@@</ol>
<div id="playhead"></div>
</div>
<div id="axis" aria-hidden="true"><span>time (s)</span><div id="ticks">@@TICKS@@</div></div>
<p>Click a moment to play it, or anywhere on a bar's line to go to that second.
Keys: 1 to 9 play a moment, space plays and pauses, the left and right arrows move by a second.</p>
@@NOTES@@</main>
<script>
"use strict";
const [video, moments, playhead, told] =
  ["video", "moments", "playhead", "status"].map(id => document.getElementById(id));
const rows = [...moments.querySelectorAll("li")], duration = Number(moments.dataset.duration);
let playing = null;  // {row, start, end} of the moment that is being played

function play(row) {
  playing = { row, start: Number(row.dataset.start), end: Number(row.dataset.end) };
  video.currentTime = playing.start;
  video.play().catch(() => {});
  told.textContent = row.querySelector("button").getAttribute("aria-label").replace("Play", "Playing");
  update();
}
function leave() {
  playing = null;
  told.textContent = "";
}
function seek(seconds) {
  leave();
  video.currentTime = Math.min(Math.max(seconds, 0), duration);
  update();
}
function update() {
  if (playing && !video.seeking) {
    if (video.currentTime >= playing.end || video.ended) { video.pause(); leave(); }
    else if (video.currentTime < playing.start - 0.5) leave();  // somebody went elsewhere
  }
  for (const row of rows) row.classList.toggle("playing", playing !== null && playing.row === row);
  const track = rows.length ? rows[0].querySelector(".track") : null;
  playhead.hidden = track === null;
  if (track) playhead.style.left =
    track.offsetLeft + track.offsetWidth * Math.min(video.currentTime / duration, 1) - 1 + "px";
}
function everyFrame() {
  update();
  if (!video.paused) requestAnimationFrame(everyFrame);
}
for (const row of rows) {
  row.querySelector("button").addEventListener("click", () => play(row));
  row.querySelector(".track").addEventListener("click", event => {
    if (event.target.classList.contains("bar")) return play(row);
    const box = event.currentTarget.getBoundingClientRect();
    seek((event.clientX - box.left) / box.width * duration);
  });
}
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target === video) return;
  if (/^[1-9]$/.test(event.key) && rows[event.key - 1]) play(rows[event.key - 1]);
  else if (event.key === "ArrowLeft") seek(video.currentTime - 1);
  else if (event.key === "ArrowRight") seek(video.currentTime + 1);
  else if (event.key === " " && event.target.tagName !== "BUTTON")
    video.paused ? video.play() : video.pause();
  else return;
  event.preventDefault();
});
video.addEventListener("play", everyFrame);
for (const name of ["timeupdate", "seeked", "loadedmetadata"]) video.addEventListener(name, update);
video.addEventListener("error", () => { told.textContent = "This browser cannot play the video."; });
window.addEventListener("resize", update);
update();
</script>
</body>
</html>
"""
