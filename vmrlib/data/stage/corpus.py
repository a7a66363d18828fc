"""Queries to a whole corpus: video, subtitle or both (TVR's v, vt and t), and paragraphs.

A sentence may fit many videos of a corpus, so each query carries all (video, moment) pairs that
satisfy it, found by the exact checker.
"""

from dataclasses import dataclass

from vmrlib.data.stage.captions import SCENE_PHRASES, TRAINING, parse, realise
from vmrlib.data.stage.checker import Moment, Predicate, matches
from vmrlib.data.stage.script import Choice
from vmrlib.data.stage.splits import StageSplit, clause_about
from vmrlib.data.stage.subtitles import OBJECTS
from vmrlib.data.stage.world import VERSION, Script

_FOUR = ("v", "v", "v", "vt")
KINDS = (*_FOUR, "t", *_FOUR, "t", *_FOUR, "t", *_FOUR, "vt")  # 12 v, 5 vt and 3 t, in turn


@dataclass(frozen=True)
class CorpusQuery:
    """A sentence, its kind (`v`, `vt` or `t`) and every (video id, moment in seconds) it describes."""

    id: str
    text: str
    kind: str
    positives: tuple[tuple[str, Moment], ...]


def corpus_queries(split: StageSplit) -> list[CorpusQuery]:
    """One query a video that has any: 60 % video, 25 % video and subtitle, 15 % subtitle.

    A query of video and subtitle asks for an event that happens in several videos, so that the line decides.
    """
    queries = []
    asked: dict[str, list[str]] = {}
    for query in split.queries:
        asked.setdefault(query.video_id, []).append(query.text)
    for index, script in enumerate(split.scripts):
        choice = Choice(f"stage-{VERSION}/corpus/{split.config.seed}/{script.video_id}")
        kind = KINDS[index % len(KINDS)]
        own = asked.get(script.video_id, [])
        if kind == "vt":
            own = [sentence for sentence in own if _is_ambiguous(parse(sentence), split.scripts)]
        if kind != "t" and not own:
            continue
        thing = choice.pick([word for word in OBJECTS if _line_about(script, word)])
        if kind == "t":
            text = f"Somebody talks about the {thing}."
            positives = [(other.video_id, _line_about(other, thing)) for other in split.scripts]
            positives = [(video, moment) for video, moment in positives if moment]
        else:
            sentence = choice.pick(own)
            predicate = parse(sentence)
            if kind == "v":
                where = SCENE_PHRASES[script.scene]
                text = f"{where[0].upper()}{where[1:]}, {sentence[0].lower()}{sentence[1:]}"
                candidates = [other for other in split.scripts if other.scene == script.scene]
            else:
                text = f"{sentence[:-1]} in the video where somebody talks about the {thing}."
                candidates = [other for other in split.scripts if _line_about(other, thing)]
            positives = [
                (other.video_id, moment) for other in candidates for moment in matches(predicate, other)
            ]
        queries.append(CorpusQuery(f"{split.name}-corpus-{index:04d}", text, kind, tuple(positives)))
    return queries


def _is_ambiguous(predicate: Predicate, scripts: list[Script]) -> bool:
    """Does it happen in more than one of these videos?"""
    found = (script for script in scripts if matches(predicate, script))
    return next(found, None) is not None and next(found, None) is not None


def paragraph(script: Script) -> str:
    """All events of a video in order, one sentence each: a query for video-text retrieval."""
    choice = Choice(f"stage-{VERSION}/paragraph/{script.video_id}")
    sentences = [realise(clause_about(script, event), choice, TRAINING) for event in script.events]
    where = SCENE_PHRASES[script.scene]
    return f"{where[0].upper()}{where[1:]}. " + " ".join(sentences)


def _line_about(script: Script, thing: str) -> Moment | None:
    """When the object is talked about, in seconds; None when it is not."""
    for line in script.lines:
        if f" {thing} " in line.text:
            return line.start_ms / 1000, line.end_ms / 1000
    return None
