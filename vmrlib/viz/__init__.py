"""Pictures of videos, moments and scores in one style, and the Explorer that puts controls above them."""

from vmrlib.viz.draw import draw_attention, draw_boxes, draw_curve, draw_filmstrip, draw_timeline
from vmrlib.viz.explorer import Explorer
from vmrlib.viz.stage import draw_events, draw_stage
from vmrlib.viz.style import ACTOR_COLOURS, CURVE, PREDICTION, TRUTH, to_png, use_course_style

__all__ = [
    "ACTOR_COLOURS",
    "CURVE",
    "PREDICTION",
    "TRUTH",
    "Explorer",
    "draw_attention",
    "draw_boxes",
    "draw_curve",
    "draw_events",
    "draw_filmstrip",
    "draw_stage",
    "draw_timeline",
    "to_png",
    "use_course_style",
]
