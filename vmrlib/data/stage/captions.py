"""Predicates as English sentences and back, and the static captions the image-text model reads.

Each verb has paraphrases for training and others that only test-verb uses; each shape likewise has
a noun that only test-noun uses.
"""

import re
from dataclasses import dataclass

import numpy as np

from vmrlib.data.stage.checker import Clause, Joined, Predicate, Who
from vmrlib.data.stage.script import Choice
from vmrlib.data.stage.world import COLOURS, SHAPES, VERBS, Script

NOUNS = {
    "circle": ("circle", "ball"),
    "square": ("square", "block"),
    "triangle": ("triangle", "cone"),
    "star": ("star",),
}
UNSEEN_NOUNS = {"circle": ("disc",), "square": ("box",), "triangle": ("pyramid",), "star": ("starfish",)}

# {a} does it, to {o}. Those of `PASSIVE` name {o} first.
PHRASES = {
    "moves right": ("{a} moves to the right", "{a} goes right", "{a} travels from left to right"),
    "moves left": ("{a} moves to the left", "{a} goes left", "{a} travels from right to left"),
    "rises": ("{a} rises", "{a} goes up", "{a} moves upwards"),
    "falls": ("{a} falls", "{a} goes down", "{a} drops to the ground"),
    "jumps": ("{a} jumps", "{a} jumps up and down", "{a} hops on the spot"),
    "grows": ("{a} grows", "{a} becomes bigger", "{a} gets larger"),
    "shrinks": ("{a} shrinks", "{a} becomes smaller", "{a} gets smaller"),
    "enters": ("{a} enters", "{a} comes in from the side", "{a} comes into view"),
    "leaves": ("{a} leaves", "{a} goes away", "{a} goes out of view"),
    "chases": ("{a} chases {o}", "{a} runs after {o}"),
    "approaches": ("{a} approaches {o}", "{a} comes close to {o}", "{a} walks up to {o}"),
    "is next to": ("{a} is next to {o}", "{a} stands beside {o}", "{a} and {o} are side by side"),
    "spins": ("{a} spins", "{a} spins around", "{a} turns round and round"),
    "shakes": ("{a} shakes", "{a} trembles"),
}
PASSIVE = {"chases": "{o} is chased by {a}", "approaches": "{o} is approached by {a}"}
UNSEEN_PHRASES = {
    "moves right": ("{a} heads right", "{a} slides rightwards"),
    "moves left": ("{a} heads left", "{a} slides leftwards"),
    "rises": ("{a} ascends", "{a} climbs"),
    "falls": ("{a} plunges", "{a} tumbles"),
    "jumps": ("{a} leaps", "{a} skips"),
    "grows": ("{a} expands", "{a} swells"),
    "shrinks": ("{a} contracts", "{a} dwindles"),
    "enters": ("{a} appears", "{a} arrives"),
    "leaves": ("{a} disappears", "{a} exits"),
    "chases": ("{a} pursues {o}", "{a} hunts {o}"),
    "approaches": ("{a} nears {o}", "{a} steps towards {o}"),
    "is next to": ("{a} is alongside {o}", "{a} keeps {o} company"),
    "spins": ("{a} rotates", "{a} twirls"),
    "shakes": ("{a} quivers", "{a} wobbles"),
}
assert set(PHRASES) == set(UNSEEN_PHRASES) == set(VERBS)
assert set(NOUNS) == set(UNSEEN_NOUNS) == set(SHAPES)

SCENE_PHRASES = {
    "meadow": "on a meadow",
    "beach": "at the beach",
    "night": "at night",
    "snow": "in the snow",
    "city": "in the city",
    "desert": "in the desert",
    "underwater": "under water",
    "forest": "in the forest",
    "kitchen": "in the kitchen",
}


@dataclass(frozen=True)
class Style:
    """Which words to use: `nouns` and `phrases` are the training ones or the unseen ones."""

    nouns: dict = None
    phrases: dict = None
    passive: bool = True


TRAINING = Style(NOUNS, PHRASES)
UNSEEN_VERB_STYLE = Style(NOUNS, UNSEEN_PHRASES, passive=False)
UNSEEN_NOUN_STYLE = Style(UNSEEN_NOUNS, PHRASES)


def realise(predicate: Predicate, choice: Choice, style: Style = TRAINING) -> str:
    """One sentence for a predicate, with a capital and a full stop."""
    if isinstance(predicate, Joined):
        comma = "," if predicate.word == "then" else ""
        first, second = (_clause(clause, choice, style) for clause in (predicate.first, predicate.second))
        text = f"{first}{comma} {predicate.word} {second}"
    else:
        text = _clause(predicate, choice, style)
    return text[0].upper() + text[1:] + "."


def _clause(clause: Clause, choice: Choice, style: Style) -> str:
    phrases = style.phrases[clause.verb]
    if style.passive and clause.verb in PASSIVE and choice.chance(0.35):
        phrases = (PASSIVE[clause.verb],)
    names = {"a": _name(clause.actor, choice, style)}
    if clause.other is not None:
        names["o"] = _name(clause.other, choice, style)
    return choice.pick(phrases).format(**names)


def _name(who: Who, choice: Choice, style: Style) -> str:
    words = ["the", who.colour, choice.pick(style.nouns[who.shape])]
    return " ".join(word for word in words if word)


# ---- from a sentence back to its predicate -------------------------------------------------------

_SHAPE_OF = {
    noun: shape for nouns in (NOUNS, UNSEEN_NOUNS) for shape, words in nouns.items() for noun in words
}
_PHRASE = rf"the (?:({'|'.join(COLOURS)}) )?({'|'.join(_SHAPE_OF)})"


def _patterns() -> list[tuple[str, list[str], re.Pattern]]:
    """(verb, order of the roles in the sentence, pattern), longest sentence first."""
    templates = [
        (verb, template)
        for table in (PHRASES, UNSEEN_PHRASES, {verb: (text,) for verb, text in PASSIVE.items()})
        for verb, texts in table.items()
        for template in texts
    ]
    templates.sort(key=lambda pair: -len(pair[1]))
    return [
        (verb, re.findall(r"{(\w)}", text), re.compile("^" + re.sub(r"{\w}", lambda _: _PHRASE, text) + "$"))
        for verb, text in templates
    ]


_PATTERNS = _patterns()


def parse(text: str) -> Predicate:
    """The predicate of a sentence in Stage's English; ValueError that quotes what it cannot read."""
    plain = " ".join(re.sub(r"[^a-z ]", " ", text.lower()).split())
    for word in ("then", "before", "while"):
        first, found, second = plain.partition(f" {word} ")
        if found:
            return Joined(_parse_clause(first, text), word, _parse_clause(second, text))
    return _parse_clause(plain, text)


def _parse_clause(plain: str, text: str) -> Clause:
    for verb, roles, pattern in _PATTERNS:
        found = pattern.match(plain)
        if found:
            words = found.groups()
            who = {role: Who(words[2 * i], _SHAPE_OF[words[2 * i + 1]]) for i, role in enumerate(roles)}
            return Clause(verb, who["a"], who.get("o"))
    raise ValueError(f'not a sentence of Stage: "{plain}" in "{text}"')


# ---- what a single frame shows: captions without any verb ----------------------------------------


def static_caption(script: Script, time: float, choice: Choice) -> str | None:
    """A caption of the frame at `time` (seconds): who is there, where, how big, in which scene.

    None when nobody is well in the picture. It never says what anybody does.
    """
    states = script.states_at(np.array([time]))[0]
    seen = [index for index, state in enumerate(states) if state[4] and 0.05 < state[0] < 0.95]
    if not seen:
        return None
    scene = SCENE_PHRASES[script.scene]
    names = [_look(script, index, states[index], choice) for index in seen]
    kind = choice.integer(0, 5)
    if kind == 0:
        return f"{choice.pick(names)} {scene}"
    if kind == 1 and len(seen) > 1:
        a, b = choice.shuffled(range(len(seen)))[:2]
        return f"{names[a]} {_relation(states[seen[a]], states[seen[b]])} {names[b]}"
    if kind == 2:
        which = choice.integer(0, len(seen) - 1)
        return f"{names[which]} {_place(states[seen[which]])}"
    places = [f"{name} {_place(states[index])}" for name, index in zip(names, seen, strict=True)]
    return " and ".join(choice.shuffled(places)[:2]) + f" {scene}"  # three would not fit into 24 tokens


def _look(script: Script, index: int, state, choice: Choice) -> str:
    actor = script.actors[index]
    size = "big " if state[2] > 1.25 else "small " if state[2] < 0.8 else ""
    return f"a {size}{actor.colour} {choice.pick(NOUNS[actor.shape])}"


def _place(state) -> str:
    across = "on the left" if state[0] < 0.37 else "on the right" if state[0] > 0.63 else "in the middle"
    up = " high up" if state[1] < 0.42 else " low down" if state[1] > 0.68 else ""
    return across + up


def _relation(a, b) -> str:
    if abs(a[0] - b[0]) >= abs(a[1] - b[1]):
        return "left of" if a[0] < b[0] else "right of"
    return "above" if a[1] < b[1] else "below"


def vocabulary() -> tuple[str, ...]:
    """Every word of the training sentences and the static captions, sorted; no unseen word."""
    texts = [
        text
        for table in (PHRASES, {verb: (text,) for verb, text in PASSIVE.items()})
        for t in table.values()
        for text in t
    ]
    texts += [word for nouns in NOUNS.values() for word in nouns]
    texts += [*COLOURS, *SCENE_PHRASES.values(), "the then before while and a big small"]
    texts += ["on the left right in the middle high up low down left of right of above below"]
    words = re.findall(r"[a-z]+", " ".join(re.sub(r"{\w}", " ", text) for text in texts))
    return tuple(sorted(set(words)))
