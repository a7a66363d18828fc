"""How fast a corpus is searched: ReLoCLNet's search in vmrlib against the released inference.

    python benchmarks/vcmr.py [--quick]

Both have the published TVR configuration, the same random weights, and a corpus of noise with as many videos
and about as many clips as TVR's validation set: 2,179 videos of 51 clips on average. Both encode it once and
answer 50 sentences at a time: the 100 best videos (VR), the 200 best moments in them (VCMR) and in the
sentence's own video (SVMR), on one thread. In turn, in one process: `speedup_query` is the ratio of the CPU
seconds of a batch of sentences, medians. `memory_ratio` compares the peaks of encoding the corpus and of
answering one batch with what there was after the imports, in a fresh process each. Noise is made while a
corpus is encoded, since all of it would not fit into memory; the time for it is taken off.
"""

import argparse
import json
import statistics

import torch
from msat import peak_memory, resident, timed
from reference import reloclnet as plain
from torch.utils.flop_counter import FlopCounterMode

from vmrlib.models.official import from_official
from vmrlib.models.reloclnet import ReLoCLNetConfig
from vmrlib.models.reloclnet_search import encode_corpus, search

VIDEOS, QUICK_VIDEOS = 2179, 120
QUERIES, QUICK_QUERIES = 50, 10
RUNS = 5
WORDS = 16  # of the longest sentence
STD = 0.06  # of the weights: wider than untrained ones, whose scores are nearly all the same
CONFIG, SIZES = ReLoCLNetConfig.tvr(), plain.Sizes()
RTOL = 2e-3  # of scores; a span's is exp(30 phi) times two probabilities
SAME = 0.99  # of the answers at least; the others are neighbours of nearly equal scores


def lengths_of(videos: int) -> torch.Tensor:
    """Clips of each video: 51 on average, as TVR's, and a few long ones."""
    generator = torch.Generator().manual_seed(0)
    return (51.1 + 12 * torch.randn(videos, generator=generator)).round().long().clamp(4, CONFIG.clips)


def batches(videos: int, size: int):
    """Padded noise in the place of features, the same for every size of the batches."""
    lengths = lengths_of(videos)
    for start in range(0, videos, size):
        part = lengths[start : start + size]
        mask = torch.arange(CONFIG.clips) < part[:, None]
        features = [
            torch.zeros(len(part), CONFIG.clips, dim) for dim in (CONFIG.dim_video, CONFIG.dim_subtitles)
        ]
        for row, length in enumerate(part.tolist()):
            generator = torch.Generator().manual_seed(start + row)
            for each in features:
                each[row, :length] = torch.randn(length, each.shape[2], generator=generator)
        yield *features, mask


def sentences(videos: int, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise in the place of words, its mask, and the video of each sentence."""
    generator = torch.Generator().manual_seed(1)
    words = torch.randn(number, WORDS, CONFIG.dim_words, generator=generator)
    lengths = torch.randint(5, WORDS + 1, (number, 1), generator=generator)
    mask = torch.arange(WORDS) < lengths
    return words * mask[..., None], mask, torch.randint(videos, (number,), generator=generator)


def make_noise(videos: int, size: int) -> None:
    """Makes all batches and keeps none."""
    for _ in batches(videos, size):
        pass


class Plain:
    """The transcription in benchmarks/reference/."""

    size = 200  # videos encoded at once

    def __init__(self):
        torch.manual_seed(0)
        self.model = plain.PlainReLoCLNet(SIZES).eval()
        for name, parameter in self.model.named_parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=STD)
            elif name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)

    def encode(self, videos: int) -> None:
        """Encodes the corpus and keeps it."""
        given = ((video, subtitles, mask.float()) for video, subtitles, mask in batches(videos, self.size))
        self.corpus = plain.encode_corpus(self.model, given)

    def answer(self, words, mask, own) -> dict:
        """Videos and scores of VR; (video, first clip, end clip) and scores of VCMR and SVMR."""
        return plain.answer(self.model, self.corpus, words, mask.float(), own)

    @property
    def stored(self) -> int:
        """Bytes of the encoded corpus."""
        return sum(part.nbytes for part in self.corpus.values())


class Ours:
    """vmrlib's model and search, with the transcription's weights."""

    size = 25  # more at once is no faster

    def __init__(self):
        self.model = from_official("reloclnet", Plain().model.state_dict(), CONFIG)

    def encode(self, videos: int) -> None:
        given = (
            {"video": video, "subtitles": subtitles, "video_mask": mask}
            for video, subtitles, mask in batches(videos, self.size)
        )
        self.corpus = encode_corpus(self.model, given)

    def answer(self, words, mask, own) -> dict:
        found = search(self.model, self.corpus, words, mask, own=own)
        answers = {"VR": (found.videos, found.video_scores)}
        for task, spans in (("VCMR", found.spans), ("SVMR", found.own_spans)):
            clips = (spans.moments / CONFIG.seconds_per_clip).round().long()
            answers[task] = (torch.cat([spans.videos[..., None], clips], dim=-1), spans.scores)
        return answers

    @property
    def stored(self) -> int:
        return self.corpus.memory


def same_answers(expected: dict, found: dict) -> float:
    """The smallest share, over the tasks, of answers that are the same at the same rank; asserts the scores.

    Answers of score 0 are none: their order is arbitrary.
    """
    shares = []
    for task, (answers, scores) in expected.items():
        kept = scores > 0
        ours, our_scores = found[task]
        torch.testing.assert_close(our_scores[kept], scores[kept], rtol=RTOL, atol=0)
        assert not (our_scores[~kept] > 0).any(), task
        shares.append((ours[kept] == answers[kept]).float().mean().item())
    assert min(shares) >= SAME, shares
    return min(shares)


def gigaflop(side, asked) -> float:
    """Floating point operations of a batch of sentences, for each of them, in billions."""
    with FlopCounterMode(display=False) as counter:
        side.answer(*asked)
    return counter.get_total_flops() / len(asked[0]) / 1e9


def main() -> None:
    """Times both sides and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer videos and sentences")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    builders = {"plain": Plain, "ours": Ours}
    if options.memory:
        before, videos = resident(), int(options.memory[1])
        side = builders[options.memory[0]]()
        side.encode(videos)
        side.answer(*sentences(videos, QUERIES))
        print(resident() - before)
        return
    videos = QUICK_VIDEOS if options.quick else VIDEOS
    number = QUICK_QUERIES if options.quick else QUERIES
    memory = {name: peak_memory(__file__, name, videos) for name in builders}
    sides, asked = {name: build() for name, build in builders.items()}, sentences(videos, number)
    encoding = {}
    for name, side in sides.items():
        spent, noise = timed(side.encode, videos)[0], timed(make_noise, videos, side.size)[0]
        encoding[name] = (spent - noise) / videos
    flop = {name: gigaflop(side, asked) for name, side in sides.items()}

    seconds, same = {name: [] for name in sides}, []
    for _ in range(RUNS + 1):  # the first one warms up
        answers = {}
        for name, side in sides.items():
            spent, answers[name] = timed(side.answer, *asked)
            seconds[name].append(spent / number)
        same.append(same_answers(answers["plain"], answers["ours"]))
    median = {name: statistics.median(values[1:]) for name, values in seconds.items()}

    clips = int(lengths_of(videos).sum())
    print(f"{videos} videos, {clips} clips, {number} sentences at once, median of {RUNS} alternating runs,")
    print("one thread, CPU milliseconds a sentence:")
    for name, side in sides.items():
        print(
            f"  {name:6} {1000 * median[name]:.2f} ({flop[name]:.3f} GFLOP), a video encoded in "
            f"{1000 * encoding[name]:.1f}, corpus {side.stored / 1e6:.0f} MB, peak {memory[name]:.0f} MB"
        )
    print(f"equal: all scores, and {100 * min(same):.2f} % of the answers at their rank")
    result = {
        "speedup_query": median["plain"] / median["ours"],
        "memory_ratio": memory["ours"] / memory["plain"],
        "stored_ratio": sides["ours"].stored / sides["plain"].stored,
        "same_answers": min(same),
        "milliseconds_query_ours": 1000 * median["ours"],
        "milliseconds_query_plain": 1000 * median["plain"],
        "milliseconds_video_ours": 1000 * encoding["ours"],
        "milliseconds_video_plain": 1000 * encoding["plain"],
        "megabytes_ours": memory["ours"],
        "megabytes_plain": memory["plain"],
        "gigaflop_query_ours": flop["ours"],
        "gigaflop_query_plain": flop["plain"],
    }
    result = {name: round(value, 4) for name, value in result.items()}
    print(json.dumps(result | {"videos": videos, "queries": number, "quick": options.quick}))


if __name__ == "__main__":
    main()
