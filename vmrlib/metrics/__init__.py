"""How answers are judged: moments, highlights, and retrieval from a corpus.

recall: R@n, IoU=m, mIoU, discounted recall     qvhighlights, highlights: the figures of QVHighlights
span: a file of predictions, with intervals      corpus: VR, SVMR, VCMR as in TVR
retrieval: R@K, MdR, MnR                         bootstrap: intervals of means and differences
analysis: recall by length, position, query length and verb
"""

from vmrlib.metrics.analysis import Analysis, Group, analyse
from vmrlib.metrics.bootstrap import bootstrap_difference, bootstrap_interval, bootstrap_intervals
from vmrlib.metrics.corpus import evaluate_corpus
from vmrlib.metrics.highlights import HighlightError, highlight_scores
from vmrlib.metrics.qvhighlights import average_precision, evaluate_qvhighlights
from vmrlib.metrics.recall import (
    CONVENTIONS,
    batch_averaged_mean,
    best_iou,
    discounted_hits_at,
    discounted_recall_at,
    hits_at,
    mean_iou,
    reaches,
    recall_at,
    recall_curve,
    sign_of,
)
from vmrlib.metrics.retrieval import ranks, text_to_video, video_to_text
from vmrlib.metrics.span import evaluate_span

__all__ = [
    "CONVENTIONS",
    "Analysis",
    "Group",
    "HighlightError",
    "analyse",
    "average_precision",
    "batch_averaged_mean",
    "best_iou",
    "bootstrap_difference",
    "bootstrap_interval",
    "bootstrap_intervals",
    "discounted_hits_at",
    "discounted_recall_at",
    "evaluate_corpus",
    "evaluate_qvhighlights",
    "evaluate_span",
    "highlight_scores",
    "hits_at",
    "mean_iou",
    "ranks",
    "reaches",
    "recall_at",
    "recall_curve",
    "sign_of",
    "text_to_video",
    "video_to_text",
]
