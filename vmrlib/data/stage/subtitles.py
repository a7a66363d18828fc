"""What is said in a video: lines that have nothing to do with the picture.

One or two of the four lines of a video name a thing and a place ("Ada left the umbrella at the museum"), so
that a query can ask for them; no such line occurs twice in a corpus of up to 3,200 videos, because
equal lines would give exactly tied scores.
"""

from vmrlib.data.stage.script import Choice
from vmrlib.data.stage.world import Line

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana")
OBJECTS = (
    *("umbrella", "key", "lamp", "violin", "map", "kettle", "ticket", "helmet", "camera", "letter"),
    *("wallet", "basket", "guitar", "candle", "mirror", "ladder", "pillow", "bucket", "whistle", "compass"),
    *("sandwich", "scarf", "ring", "puzzle", "clock", "trumpet", "carpet", "button", "painting", "drum"),
    *("bottle", "hammer", "kite", "notebook", "spoon", "telescope", "vase", "wagon", "zipper", "robot"),
)
PLACES = (
    *("museum", "station", "library", "bakery", "harbour", "market", "school", "theatre", "hotel", "garden"),
    *("airport", "castle", "bridge", "cinema", "farm", "hospital", "island", "kiosk", "lighthouse", "tower"),
)
SMALL_TALK = (
    *(
        "Turn the music up.",
        "Did you hear the thunder?",
        "Dinner is almost ready.",
        "The train is late again.",
    ),
    *("Can you keep a secret?", "We missed the last bus.", "How much money is left?", "Call the doctor now."),
    *(
        "The holiday starts in June.",
        "The soup is too hot.",
        "I love this song.",
        "Who ate the birthday cake?",
    ),
)
_KINDS = len(NAMES) * len(OBJECTS) * len(PLACES)
assert _KINDS == 6400
_STRIDE = 2467  # prime to 6400: steps through all lines without a repeat


def subtitle_lines(number: int, duration_ms: int, choice: Choice) -> tuple[Line, ...]:
    """The four lines of the video with this number in its split; one or two can be asked for."""
    # Every fourth video has one, so that each thing is named in 4 to 5 % of the videos.
    asked = [told(2 * number), told(2 * number + 1)][: 2 if number % 4 else 1]
    texts = asked + [choice.pick(SMALL_TALK) for _ in range(4 - len(asked))]
    quarter = duration_ms // 4
    lines = []
    for position, text in enumerate(choice.shuffled(texts)):
        start = position * quarter + choice.integer(200, quarter - 3000, step=100)
        lines.append(Line(text, start, start + choice.integer(2000, 2800, step=100)))
    return tuple(lines)


def told(number: int) -> str:
    """The line with this number, of 6,400."""
    name, thing, place = slots(number)
    return f"{name} left the {thing} at the {place}."


def slots(number: int) -> tuple[str, str, str]:
    """(name, object, place) of line `number`."""
    index = number * _STRIDE % _KINDS
    return (
        NAMES[index % 8],
        OBJECTS[index // 8 % 40],
        PLACES[index // 320],
    )
