"""A picture of a training that is drawn again while it runs.

    live = LiveCurve(settings.total_steps(len(train_set)))
    display(live)
    result = train(model, train_set, val_set, settings, on_step=live)
    live.close()

It is one `ipywidgets.Image` whose bytes change: no output of a cell is changed later, so that a notebook with
it can be compared with its stored outputs.
"""

import time
from collections.abc import Mapping, Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vmrlib.viz.log import smooth
from vmrlib.viz.style import COURSE_STYLE, CURVE, GREY, PREDICTION, to_png

LOSSES = {"stage": "#E69F00", "regression": "#56B4E9", "iou": "#CC79A7", "words": GREY, "contrast": "#009E73"}


class LiveCurve:
    """The curves of `draw_training`, called with every line of a training's log (`on_step` of `train`).

    Drawn at most every `seconds`, which costs about a sixth of a second each time. `close` takes it off the
    page; what is to stay there is drawn with `draw`.
    """

    def __init__(
        self,
        steps: int,
        metric: str = "R@1, IoU=0.5",
        baseline: tuple[str, float] | None = None,
        weights: Mapping[str, float] | None = None,
        seconds: float = 4.0,
    ):
        self.steps, self.metric, self.baseline, self.weights = steps, metric, baseline, weights
        self.seconds, self.records, self._drawn = seconds, [], 0.0
        self.image = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        self.redraw()

    def __call__(self, record: Mapping) -> None:
        """Takes one line of the log, and draws if it is time."""
        self.records.append(record)
        if time.monotonic() - self._drawn >= self.seconds:
            self.redraw()

    def draw(self) -> Figure:
        """The figure of all lines so far."""
        return draw_training(self.records, self.steps, self.metric, self.baseline, self.weights)

    def redraw(self) -> None:
        self.image.value = to_png(self.draw())
        self._drawn = time.monotonic()

    def close(self) -> None:
        """Draws it a last time and takes it off the page."""
        self.redraw()
        self.image.close()

    def __repr__(self) -> str:
        return f"LiveCurve({self.steps} steps)"

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        """The widget for those with a kernel, and a short text for all others."""
        bundle = dict(self.image._repr_mimebundle_(**kwargs) or {})
        bundle["text/plain"] = repr(self)
        return bundle, {}


@plt.rc_context(COURSE_STYLE)
def draw_training(
    records: Sequence[Mapping],
    steps: int,
    metric: str = "R@1, IoU=0.5",
    baseline: tuple[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Figure:
    """Left the losses over the steps, smoothed, right a metric (percent) on the validation set.

    `records` are lines of a log: {"step", "losses"} or {"step", "val"}. `baseline` (name, percent) is a
    dashed line. `weights` multiply the losses, so that the parts add up to the total.
    """
    figure = plt.figure(figsize=(9, 3.0))
    left, right = (figure.add_axes((x, 0.19, 0.39, 0.76)) for x in (0.09, 0.58))
    lines = [record for record in records if "losses" in record]
    x = [record["step"] for record in lines]
    for name, colour in (LOSSES | {"total": CURVE}).items():
        values = [record["losses"].get(name) for record in lines]
        if not values or None in values:
            continue
        scaled = np.array(values, dtype=float) * (weights or {}).get(name, 1.0)
        left.plot(x, smooth(scaled), color=colour, label=name, linewidth=2.4 if name == "total" else 1.5)
    if x:
        left.legend(fontsize=10, ncols=3, columnspacing=1, loc="upper right")
        left.set_ylim(0, 1.35 * left.get_ylim()[1])  # the legend stands above the curves
    left.set_ylabel("loss, weighted" if weights else "loss")
    evaluations = [record for record in records if "val" in record]
    if evaluations:
        at, values = zip(*((record["step"], record["val"][metric]) for record in evaluations), strict=True)
        right.plot(at, values, color=PREDICTION, marker="o", clip_on=False)
    if baseline is not None:
        right.axhline(baseline[1], color=GREY, linestyle="--", linewidth=1.4)
        right.text(steps, baseline[1] + 1, baseline[0], ha="right", va="bottom", fontsize=10.5, color=GREY)
    right.set_ylim(0, max(50.0, *(1.1 * record["val"][metric] for record in evaluations), 0.0))
    right.set_ylabel(f"{metric} on val (%)")
    for axes in (left, right):
        axes.set_xlim(0, steps)
        axes.set_xlabel("step")
    return figure
