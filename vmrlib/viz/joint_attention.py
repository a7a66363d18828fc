"""Draw functions of joint attention: where words and points look, at their own kind and at the other one.

Both panels of a picture share one colour scale, because one softmax covers both. Frames are uint8
(F, H, W, 3) at `times` seconds; boundary point t of T stands at t / (T - 1) of the duration.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from vmrlib.viz.draw import AXES_WIDTH, Filmstrip, seconds_axis
from vmrlib.viz.style import COURSE_STYLE, GREY, LEFT, WIDTH, column

WORD = 0.27  # inches, of a row or a column of one word


@plt.rc_context(COURSE_STYLE)
def draw_words_attention(
    own, video, words: Sequence[str], duration: float, frames=None, times=None, title: str = "", vmax=None
) -> Figure:
    """Where each word looks: at the words, own (L, L), and at the video's points, video (L, T).

    One softmax covers both, so a row sums to 1 over the two panels; its share at home stands between them.
    """
    own, video = np.asarray(own, dtype=float), np.asarray(video, dtype=float)
    if own.shape != (len(words),) * 2 or len(video) != len(words):
        raise ValueError(f"own is {own.shape} and video {video.shape}, for {len(words)} words")
    left, home, between = 0.25 + 0.095 * max(map(len, words)), WORD * len(words), 0.62
    x = left + home + between
    inches = WIDTH - x - 0.75
    half, norm = duration / (video.shape[1] - 1) / 2, Normalize(0, vmax or max(own.max(), video.max()))
    strip = None if frames is None else Filmstrip(frames, times, duration)
    top = strip.height * inches / AXES_WIDTH if strip else 0.0
    figure, panels = column([*([top] if strip else []), home], title, left)
    height = figure.get_size_inches()[1]
    for panel in panels:
        box = panel.get_position()
        panel.set_position((x / WIDTH, box.y0, inches / WIDTH, box.height))
    box = panels[-1].get_position()
    at_home = figure.add_axes((left / WIDTH, box.y0, home / WIDTH, box.height))
    at_home.imshow(own, norm=norm, aspect="auto")
    at_home.set_xticks(range(len(words)), words, rotation=90, fontsize=10)
    at_home.xaxis.tick_top()
    at_home.set_yticks(range(len(words)), words)
    image = panels[-1].imshow(
        video, norm=norm, aspect="auto", extent=(-half, duration + half, len(words) - 0.5, -0.5)
    )
    panels[-1].set_yticks([])
    for row, share in enumerate(own.sum(axis=1)):
        at_home.text(len(words) - 0.3, row, f"{100 * share:.0f} %", va="center", fontsize=10, color=GREY)
    for panel in panels:
        panel.set_xlim(-half, duration + half)
    seconds_axis(panels[-1], grid=False)
    for axes in (at_home, panels[-1]):
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    if strip:
        strip.draw(panels[0])
        panels[0].set(xlim=(-half, duration + half), xticks=[])
    else:
        at_home.xaxis.tick_bottom()
    scale = figure.add_axes((1 - 0.6 / WIDTH, box.y0, 0.12 / WIDTH, home / height))
    figure.colorbar(image, cax=scale)
    return figure


@plt.rc_context(COURSE_STYLE)
def draw_points_attention(
    own,
    words_seen,
    words: Sequence[str],
    duration: float,
    frames=None,
    times=None,
    title: str = "",
    vmax=None,
) -> Figure:
    """Where each boundary point looks: at the words, words_seen (T, L), and at the points, own (T, T).

    The looking points run along the seconds; a column sums to 1 over the two panels.
    """
    own, words_seen = np.asarray(own, dtype=float), np.asarray(words_seen, dtype=float)
    if words_seen.shape != (len(own), len(words)) or own.shape != (len(own),) * 2:
        raise ValueError(f"own is {own.shape} and words_seen {words_seen.shape}, for {len(words)} words")
    half = duration / (len(own) - 1) / 2
    norm = Normalize(0, vmax or max(own.max(), words_seen.max()))
    strip = None if frames is None else Filmstrip(frames, times, duration)
    left = max(LEFT, 0.25 + 0.095 * max(map(len, words)))
    inches = WIDTH - left - 0.75
    heights = [strip.height * inches / AXES_WIDTH] if strip else []
    figure, panels = column([*heights, WORD * len(words), 2.6], title, left)
    for panel in panels:
        box = panel.get_position()
        panel.set_position((box.x0, box.y0, inches / WIDTH, box.height))
    upper, lower = panels[-2:]
    sides = (-half, duration + half)
    upper.imshow(words_seen.T, norm=norm, aspect="auto", extent=(*sides, len(words) - 0.5, -0.5))
    image = lower.imshow(own.T, norm=norm, aspect="auto", extent=(*sides, *sides), origin="lower")
    upper.set_yticks(range(len(words)), words)
    lower.set_ylabel("looks at (s)", labelpad=2)
    lower.yaxis.set_major_locator(plt.MaxNLocator(6, integer=True))
    for panel in panels:
        panel.set_xlim(*sides)
        panel.tick_params(length=0, labelbottom=False)
        for spine in panel.spines.values():
            spine.set_visible(False)
    seconds_axis(lower, grid=False)
    lower.set_xlabel("time of the looking point (s)", labelpad=2)
    if strip:
        strip.draw(panels[0])
        panels[0].set(xlim=sides, xticks=[])
    box, end = lower.get_position(), upper.get_position().y1
    scale = figure.add_axes((1 - 0.6 / WIDTH, box.y0, 0.12 / WIDTH, end - box.y0))
    figure.colorbar(image, cax=scale)
    return figure
