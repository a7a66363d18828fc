"""A picture with controls above it, which is also a plain PNG wherever no kernel runs."""

import base64
import math
import textwrap
from collections.abc import Callable
from html import escape

import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vmrlib.viz.style import COURSE_STYLE, PREDICTION, WIDTH, to_png

# ipywidgets.Image has no alt attribute: the description stands beside it, for screen readers only.
UNSEEN = "position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%)"


class Explorer:
    """Controls that redraw `draw(**values)`, a plain function that returns a figure.

    A pair of ints or floats is a slider (a third number is where it starts), a list or dict a
    drop-down, a string a text box, a bool a switch:

        Explorer(draw, layer=(0, 3), query=["a", "b"], caption="Watch the peak.", alt="Curve over seconds")

    `controls` holds the widgets by name and `image` the picture. `caption` says what to look for;
    `alt` describes the picture to those who cannot see it.
    """

    def __init__(self, draw: Callable[..., Figure], /, *, caption: str = "", alt: str = "", **controls):
        self.draw, self.caption, self.alt = draw, caption, alt or caption
        self.controls = {name: control(name, values) for name, values in controls.items()}
        # The first picture may raise: a mistake in the notebook must show as an error of its cell.
        self.image = ipywidgets.Image(
            value=to_png(draw(**self.values)), format="png", layout={"max_width": "100%"}
        )
        foot = ipywidgets.HTML(f"<em>{escape(caption)}</em><span style='{UNSEEN}'>{escape(self.alt)}</span>")
        self.box = ipywidgets.VBox([*self.controls.values(), self.image, foot])
        for widget in self.controls.values():
            widget.observe(self.redraw, names="value")

    @property
    def values(self) -> dict:
        """What the controls say now, as `draw` receives it."""
        return {name: widget.value for name, widget in self.controls.items()}

    def redraw(self, change=None) -> None:
        """Draw the picture again; what goes wrong is written into it, since a widget has no other place."""
        already_open = set(plt.get_fignums())
        try:
            self.image.value = to_png(self.draw(**self.values))
        except Exception as error:
            self.image.value = to_png(error_figure(error))
        for number in set(plt.get_fignums()) - already_open:
            plt.close(number)

    def __repr__(self) -> str:
        return f"Explorer({', '.join(self.controls)})" + (f": {self.caption}" if self.caption else "")

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        """PNG and text for every reader, and the widget for those with a kernel."""
        bundle = dict(self.box._repr_mimebundle_(**kwargs) or {})
        bundle["text/plain"] = repr(self)
        bundle["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle, {"image/png": {"alt": self.alt}}


def control(name: str, values) -> ipywidgets.Widget:
    """The widget for one argument of the draw function."""
    label = {"description": name.replace("_", " "), "style": {"description_width": "90px"}}
    wide = {"layout": {"width": "560px"}}
    match values:
        case bool():
            return ipywidgets.Checkbox(value=values, **label)
        case str():
            return ipywidgets.Text(value=values, continuous_update=False, **label, **wide)
        case list() | dict():
            return ipywidgets.Dropdown(options=values, **label, **wide)
        case (int(low), int(high), *start):
            start = start[0] if start else low
            return ipywidgets.IntSlider(start, low, high, continuous_update=False, **label, **wide)
        case (int() | float() as low, int() | float() as high, *start):
            start, step = start[0] if start else low, 10 ** math.floor(math.log10((high - low) / 50))
            return ipywidgets.FloatSlider(
                start, min=low, max=high, step=step, continuous_update=False, **label, **wide
            )
    raise TypeError(f"{name}={values!r} is no control: give (low, high), a list, a string or a bool")


@plt.rc_context(COURSE_STYLE)
def error_figure(error: Exception) -> Figure:
    """The message of an exception as a picture."""
    text = "\n".join(textwrap.wrap(f"{type(error).__name__}: {error}", 84)[:8])
    figure = plt.figure(figsize=(WIDTH, 2.2))
    figure.text(0.04, 0.86, "This picture could not be drawn.", fontsize=13, weight="bold", va="top")
    figure.text(0.04, 0.66, text, fontsize=11, color=PREDICTION, va="top", family="monospace")
    return figure
