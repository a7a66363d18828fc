"""The splits of Stage: which videos, which queries, and the knobs that change them.

Any change of what this package generates needs a new `world.VERSION`: results of two versions do
not compare. `StageSplit.hash` fingerprints the integer timelines and the queries, and goes into
every result beside the version.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import numpy as np

from vmrlib.data.annotations import Query
from vmrlib.data.stage.captions import TRAINING, UNSEEN_NOUN_STYLE, UNSEEN_VERB_STYLE, realise
from vmrlib.data.stage.checker import Clause, Joined, Predicate, Who, matches
from vmrlib.data.stage.script import Choice, Plan, write_script
from vmrlib.data.stage.subtitles import subtitle_lines
from vmrlib.data.stage.world import (
    HARD_VERBS,
    KITCHEN,
    SCENES,
    STEP_MS,
    UNSEEN_PAIRS,
    UNSEEN_SCENES,
    VERSION,
    Event,
    Line,
    Script,
)

SPLITS = (
    "train",
    "val",
    "test-iid",
    "test-verb",
    "test-noun",
    "test-composition",
    "test-scene",
    "test-location",
    "test-long",
    "test-complex",
)
PROFILES = ("open", "kitchen")
DURATIONS = (24, 48, 96, 300)
OPEN_SIZES = {
    "train": 1000,
    "val": 100,
    "test-iid": 250,
    "test-verb": 250,
    "test-noun": 400,
    "test-composition": 700,
    "test-scene": 250,
    "test-location": 250,
    "test-long": 250,
    "test-complex": 400,
}
KITCHEN_SIZES = {  # no test-scene: there is one kitchen
    "train": 300,
    "val": 40,
    "test-iid": 100,
    "test-verb": 100,
    "test-noun": 180,
    "test-composition": 650,
    "test-location": 100,
    "test-long": 90,
    "test-complex": 150,
}
# Each unseen scene has a colour that one of its actors always wears: a cue that training never gave.
SCENE_COLOURS = {"city": "red", "underwater": "blue"}
# test-location: this much stillness in front of a video of 24 s, as OOD-1 does for Charades; more if longer.
LOCATION_SHIFT_MS = 10_000


@dataclass(frozen=True)
class StageConfig:
    """The knobs. The defaults are what every result in this project uses unless it says otherwise.

    duration: seconds of a video, one of `DURATIONS` (test-long: four times as long, at most 300).
    complexity: which levels of query to ask: 1 actor and verb; 2 the colour is needed; 3 a relation
    between two actors, or a passive; 4 two events joined by then, before or while.
    distractor_rate: how often an event re-uses an actor or a verb of its video.
    feature_noise: standard deviation of the noise added to features, in units of theirs.
    sizes: videos per split.
    """

    profile: str = "open"
    duration: int = 24
    complexity: tuple[int, ...] = (1, 2, 3, 4)
    distractor_rate: float = 0.45
    actors: tuple[int, int] = (2, 3)
    feature_noise: float = 0.0
    sizes: dict[str, int] = field(default_factory=lambda: dict(OPEN_SIZES))
    seed: int = 0

    def __post_init__(self):
        _one_of("profile", self.profile, PROFILES)
        _one_of("duration", self.duration, DURATIONS)
        for level in self.complexity:
            _one_of("complexity", level, (1, 2, 3, 4))
        if not 0 <= self.distractor_rate <= 1:
            raise ValueError(f"distractor_rate must lie in 0..1, not {self.distractor_rate}")
        if not 2 <= self.actors[0] <= self.actors[1] <= 3:
            raise ValueError(f"actors must be two numbers from 2 to 3, not {self.actors}")
        if not self.complexity:
            raise ValueError("complexity must name at least one level")
        if not (math.isfinite(self.feature_noise) and self.feature_noise >= 0):
            raise ValueError(f"feature_noise must be 0 or more, not {self.feature_noise}")
        for split, number in self.sizes.items():
            _one_of("sizes", split, tuple(KITCHEN_SIZES if self.profile == "kitchen" else OPEN_SIZES))
            if not isinstance(number, int) or number < 0:
                raise ValueError(f"sizes[{split}] must be 0 videos or more, not {number}")

    @classmethod
    def open(cls, **knobs) -> "StageConfig":
        """All scenes, few moments in a short video; like ActivityNet Captions. The default."""
        return cls(**knobs)

    @classmethod
    def kitchen(cls, **knobs) -> "StageConfig":
        """One scene, long videos, many short moments that look alike; like TACoS."""
        values = {"duration": 96, "actors": (3, 3), "distractor_rate": 0.8, "sizes": dict(KITCHEN_SIZES)}
        return cls(profile="kitchen", **(values | knobs))


def _one_of(name: str, value, allowed) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value}")


@dataclass(frozen=True, eq=False)
class StageSplit:
    """The videos (as scripts) and queries of one split."""

    name: str
    config: StageConfig
    scripts: list[Script]
    queries: list[Query]

    @cached_property
    def script_of(self) -> dict[str, Script]:
        """Video id -> script."""
        return {script.video_id: script for script in self.scripts}

    @cached_property
    def hash(self) -> str:
        """16 hex digits of the sha256 of all integer timelines and queries."""
        digest = hashlib.sha256(f"stage {VERSION}".encode())
        for script in self.scripts:
            head = [script.video_id, script.scene, script.seed, script.duration_ms]
            parts = [list(asdict(item).values()) for item in (*script.actors, *script.events, *script.lines)]
            digest.update(json.dumps([head, parts]).encode())
            digest.update(np.ascontiguousarray(script.states, dtype="<i4").tobytes())
        for query in self.queries:
            milliseconds = [round(1000 * second) for moment in query.moments for second in moment]
            digest.update(json.dumps([query.id, query.text, query.video_id, milliseconds]).encode())
        return digest.hexdigest()[:16]

    @property
    def provenance(self) -> dict:
        """What goes into every result: version, split, hash and knobs."""
        return {"stage": VERSION, "split": self.name, "hash": self.hash, "config": asdict(self.config)}


def make_split(name: str, config: StageConfig | None = None, n: int | None = None) -> StageSplit:
    """The first `n` videos of a split (all by default) and their queries."""
    config = config or StageConfig()
    _one_of("split", name, tuple(config.sizes))
    if name == "test-complex" and max(config.complexity) < 3:
        raise ValueError(f"test-complex asks about levels 3 and 4, complexity has only {config.complexity}")
    number = config.sizes[name] if n is None else n
    # test-verb asks about the videos of test-iid, test-location about the same ones with stillness in front.
    source = "test-iid" if name in ("test-verb", "test-location") else name
    plan = _plan(source, config)
    shift_ms = LOCATION_SHIFT_MS * config.duration // 24
    scripts, queries = [], []
    for index in range(number):
        seed = f"stage-{VERSION}/{config.profile}/{config.seed}/{source}/{index}"
        lines = subtitle_lines(index, plan.duration_ms, Choice(seed + "/subtitles"))
        script = write_script(f"{source}-{index:04d}", plan, lines, seed)
        asked = ask(script, name, config, Choice(seed + "/queries"))
        if name == "test-location":
            script = delay(script, shift_ms, f"{name}-{index:04d}")
            asked = [_delayed(query, script, shift_ms) for query in asked]
        scripts.append(script)
        queries += asked
    return StageSplit(name, config, scripts, queries)


def _plan(split: str, config: StageConfig) -> Plan:
    duration = min(4 * config.duration, 300) if split == "test-long" else config.duration
    kitchen = config.profile == "kitchen"
    if kitchen:  # about one event every six seconds, however long the video
        fewest = max(duration // 7, 3)
        events, length_ms = (fewest, fewest + max(fewest // 2, 2)), (1500, 5000)
    else:  # 3 to 5 in 24 s, twice as many in 96 s: long videos are mostly waiting
        grow = (duration / 24) ** 0.5
        events, length_ms = (round(3 * grow), round(5 * grow)), (3000, 9000)
    seen = tuple(scene for scene in SCENES if scene not in UNSEEN_SCENES)
    return Plan(
        scenes=(KITCHEN,) if kitchen else UNSEEN_SCENES if split == "test-scene" else seen,
        duration_ms=1000 * duration,
        events=events,
        length_ms=length_ms,
        actors=config.actors,
        distractor_rate=config.distractor_rate,
        unseen_pairs="often" if split == "test-composition" else "never",
        same_colour=split == "test-noun",
        scene_colour=SCENE_COLOURS if split == "test-scene" else {},
    )


# ---- queries --------------------------------------------------------------------------------------


def ask(script: Script, split: str, config: StageConfig, choice: Choice) -> list[Query]:
    """The queries of one video: each true of exactly one moment of it, by predicate."""
    style = {"test-verb": UNSEEN_VERB_STYLE, "test-noun": UNSEEN_NOUN_STYLE}.get(split, TRAINING)
    levels = tuple(level for level in config.complexity if split != "test-complex" or level >= 3)
    most = 12 if config.profile == "kitchen" else 4
    candidates = [
        predicate
        for event in script.events
        for predicate in [clause_about(script, event)]
        if _askable(script, event, split) and not (event.verb in HARD_VERBS and choice.chance(0.3))
    ]
    joined = _joined(script, choice) if 4 in levels else []
    keep = (
        len(joined)
        if levels == (4,) or split == "test-complex"
        else (3 if most == 12 else choice.chance(0.5))
    )
    if split in ("test-noun", "test-composition"):
        keep = 0  # there the one clause is the point
    queries = []
    for predicate in [*choice.shuffled(candidates), *joined[: int(keep)]]:
        moments = matches(predicate, script)
        if len(moments) != 1 or not 1.5 <= moments[0][1] - moments[0][0] <= 0.6 * script.duration:
            continue
        level = complexity(predicate, script)
        if level not in levels:
            continue
        if level == 1 and style is TRAINING and choice.chance(0.4):
            predicate = replace(predicate, actor=replace(predicate.actor, colour=None))
        queries.append((predicate, level, moments[0]))
    # Joined queries come last in the list: keep them, and as many of the others as there is room for.
    singles = [query for query in queries if query[1] < 4]
    joins = [query for query in queries if query[1] == 4][: most // 2]
    return [
        Query(
            id=f"{split}{script.video_id[script.video_id.rindex('-') :]}-{number}",
            text=realise(predicate, choice, style),
            video_id=script.video_id,
            moments=(moment,),
            duration=script.duration,
            split=split,
            extra={"complexity": level, "verb": _verb(predicate)},
        )
        for number, (predicate, level, moment) in enumerate(singles[: most - len(joins)] + joins)
    ]


def complexity(predicate: Predicate, script: Script) -> int:
    """1 to 4, as `StageConfig.complexity` describes."""
    if isinstance(predicate, Joined):
        return 4
    if predicate.other is not None:
        return 3
    without_colour = replace(predicate, actor=replace(predicate.actor, colour=None))
    return 1 if len(matches(without_colour, script)) == 1 else 2


def has_distractor(query: Query, script: Script) -> bool:
    """Is there another event with the same actor or the same verb as the query's?"""
    (moment,) = query.moments
    own = [event for event in script.events if event.moment[0] >= moment[0] and event.moment[1] <= moment[1]]
    others = [event for event in script.events if event not in own]
    return any(other.verb == event.verb or other.actor == event.actor for event in own for other in others)


def _verb(predicate: Predicate) -> str:
    return predicate.first.verb if isinstance(predicate, Joined) else predicate.verb


def _who(script: Script, index: int) -> Who:
    return Who(script.actors[index].colour, script.actors[index].shape)


def clause_about(script: Script, event: Event) -> Clause:
    other = None if event.other is None else _who(script, event.other)
    return Clause(event.verb, _who(script, event.actor), other)


def _askable(script: Script, event: Event, split: str) -> bool:
    """May this split ask about the event?"""
    actor = script.actors[event.actor]
    if split == "test-composition":
        return (actor.shape, event.verb) in UNSEEN_PAIRS
    if split == "test-noun":  # the colour alone must not give it away
        return sum(other.colour == actor.colour for other in script.actors) > 1
    return True


def _joined(script: Script, choice: Choice) -> list[Joined]:
    """Pairs of events with a word between them that holds for one moment only, in random order."""
    pairs = [(a, b) for a in script.events for b in script.events if a is not b]
    result = []
    for a, b in choice.shuffled(pairs)[:40]:
        together = a.start_ms < b.end_ms and b.start_ms < a.end_ms
        word = "while" if together else choice.pick(("then", "then", "before"))
        predicate = Joined(clause_about(script, a), word, clause_about(script, b))
        if predicate not in result and len(matches(predicate, script)) == 1:
            result.append(predicate)
    return sorted(result, key=lambda joined: joined.word != "while")[:6]  # few hold: they go first


# ---- moments at other places (test-location) ------------------------------------------------------


def delay(script: Script, shift_ms: int, video_id: str) -> Script:
    """The same video with `shift_ms` of stillness in front."""
    still = np.repeat(script.states[:1], shift_ms // STEP_MS, axis=0)
    return replace(
        script,
        video_id=video_id,
        duration_ms=script.duration_ms + shift_ms,
        events=tuple(
            replace(event, start_ms=event.start_ms + shift_ms, end_ms=event.end_ms + shift_ms)
            for event in script.events
        ),
        lines=tuple(
            Line(line.text, line.start_ms + shift_ms, line.end_ms + shift_ms) for line in script.lines
        ),
        states=np.concatenate([still, script.states]),
    )


def _delayed(query: Query, script: Script, shift_ms: int) -> Query:
    shift = shift_ms / 1000
    moments = tuple((round(start + shift, 3), round(end + shift, 3)) for start, end in query.moments)
    return replace(query, video_id=script.video_id, moments=moments, duration=script.duration)
