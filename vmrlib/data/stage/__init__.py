"""Stage: the embedded dataset. Short rendered videos with queries, made from a seed.

script (timeline) -> render (frames) -> captions, subtitles -> mp4 and annotations

split = make_split("test-iid")          # scripts and queries; nothing is stored
frames = render(split.scripts[0], [1.0, 2.0], size=224)
matches(parse("The red star jumps."), split.scripts[0])
"""

from vmrlib.data.stage.captions import parse
from vmrlib.data.stage.checker import facts, matches, search
from vmrlib.data.stage.render import boxes, contact_sheet, render
from vmrlib.data.stage.splits import SPLITS, StageConfig, StageSplit, make_split
from vmrlib.data.stage.world import VERSION, Actor, Event, Script

__all__ = [
    "SPLITS",
    "VERSION",
    "Actor",
    "Event",
    "Script",
    "StageConfig",
    "StageSplit",
    "boxes",
    "contact_sheet",
    "facts",
    "make_split",
    "matches",
    "parse",
    "render",
    "search",
]
