"""Pictures of videos, moments and scores in one style, and the Explorer that puts controls above them."""

from vmrlib.viz.analysis import draw_analysis
from vmrlib.viz.draw import draw_attention, draw_boxes, draw_curve, draw_filmstrip, draw_timeline
from vmrlib.viz.explorer import Explorer
from vmrlib.viz.real_data import draw_agreement, draw_dots, draw_histograms, draw_locations, model_style
from vmrlib.viz.results import draw_intervals, draw_predictions, draw_ranking, draw_recall_axis
from vmrlib.viz.stage import draw_events, draw_stage
from vmrlib.viz.style import ACTOR_COLOURS, CURVE, PREDICTION, TRUTH, to_png, use_course_style

__all__ = [
    "ACTOR_COLOURS",
    "CURVE",
    "PREDICTION",
    "TRUTH",
    "Explorer",
    "draw_agreement",
    "draw_analysis",
    "draw_attention",
    "draw_boxes",
    "draw_curve",
    "draw_dots",
    "draw_events",
    "draw_filmstrip",
    "draw_histograms",
    "draw_intervals",
    "draw_locations",
    "draw_predictions",
    "draw_ranking",
    "draw_recall_axis",
    "draw_stage",
    "draw_timeline",
    "model_style",
    "to_png",
    "use_course_style",
]
