# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A1 · Real data: what the files hold and what the numbers mean
#
# **You will** read the field's datasets with all their oddities, measure what a blind answer gets on each, and judge published models under eight metrics.<br>
# **Needs** notebook 1, for temporal IoU and R@1, IoU=m; no download.<br>
# **Time** 45 minutes to read, 60 for the exercises, half a minute to run.<br>
# **Paper** [Otani et al. 2020](https://arxiv.org/abs/2009.00325) on hidden challenges; [Yuan et al. 2021](https://arxiv.org/abs/2101.09028) on datasets and metrics

# %%
import numpy as np
import torch
from matplotlib import pyplot as plt
import vmrlib
from vmrlib.check import check
from vmrlib.data.summary import read_summary
from vmrlib.viz import Explorer, draw_agreement, draw_dots, draw_histograms, draw_intervals, draw_locations, draw_predictions, draw_ranking, draw_recall_axis, model_style

vmrlib.setup(seed=0)

# %% [markdown]
# ## The question
#
# A paper says *R@1, IoU=0.5: 67.35 on QVHighlights val*. Is that good? It depends on four things that the table does not
# show: what is in the file, what an answer gets that looks at nothing, how far the number would move with other videos,
# and whether another metric would have put another model first. This notebook looks at all four.
#
# | symbol | meaning | name in code |
# |---|---|---|
# | $(s, e)$ | a moment, start and end in seconds | `query.moments` |
# | $d$ | duration of the video | `query.duration` |
# | R@1, IoU=m | share of queries whose first answer has an IoU of at least $m$ | `recall_at` |
# | dR@1, IoU=m | the same, less for answers whose ends are off | `discounted_recall_at` |
# | mAP | precision over all true moments and all answers, averaged | `average_precision` |
#
# The annotations belong to others, so they are not in this course. What is: a small file of **statistics** of them, counts and
# scores without a single sentence. `python -m vmrlib data check --summary` makes it anew from the real files,
# and our tests compare the two. Everything below that shows real numbers draws them from it.

# %%
summary = read_summary()
datasets = summary["datasets"]
print(len(summary["made from"]), "files,", sum(len(splits) for splits in datasets.values()), "splits")
for dataset, splits in datasets.items():
    print(f"{dataset:21}", "  ".join(f"{name} {split['rows']:,}" for name, split in splits.items()))

# %% [markdown]
# The numbers are queries as the files have them. They can differ from the paper: the copies of TACoS that the field uses have 9,790 training queries where
# the first papers counted 10,146. The training files of TVR and DiDeMo are left out of this summary.
#
# ## Every file writes time in its own way
#
# Every dataset has a trap of its own. The lines below are imitations: the form is that of the real files, the content is invented.
# They go into a temporary folder, and `read_split` reads them as it reads the real ones.

# %%
import json
import tempfile
from pathlib import Path
from vmrlib.data.datasets import read_split

folder = Path(tempfile.mkdtemp())


def imitate(dataset, **files):
    """Write files into the folder of a dataset; `train_json=...` becomes train.json."""
    (folder / dataset).mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / dataset / ".".join(name.rsplit("_", 1))).write_text(text, encoding="utf-8")


def show(dataset, split):
    """Print the queries of a split, and what was dropped."""
    result = read_split(dataset, split, folder / dataset)
    for query in result.queries:
        print(f"{query.id}: {query.text!r} {[tuple(round(t, 2) for t in m) for m in query.moments]} of {query.duration:.2f} s")
    for row in result.dropped:
        print(f"dropped {row.value}: {row.reason}")


# %% [markdown]
# **TACoS counts in frames.** Divide by `fps`, 29.4 in all 127 videos; whoever divides by 30 gets moments that look plausible. Exact repetitions stay: they are in
# the published counts. **ActivityNet Captions has blanks and a few moments that do not run forwards**: two of three sentences begin or end with a blank, four of
# 37,421 training rows end before or when they start. Its `val` is the official `val_1`, its `test` is `val_2`: other annotators, the same videos.

# %%
imitate("tacos", train_json="""{"s13-d21.avi": {"num_frames": 2940, "fps": 29.4,
  "timestamps": [[294, 588], [294, 588]], "sentences": ["She washes a carrot. ", "She washes a carrot. "]}}""")
show("tacos", "train")
imitate("activitynet_captions", train_json="""{"v_imitation": {"duration": 82.73,
  "timestamps": [[0.83, 19.86], [60.81, 60.81]], "sentences": [" A man lifts\\na barbell.", " He drops it. "]}}""")
show("activitynet_captions", "train")

# %% [markdown]
# **Charades-STA has a text file, and the durations elsewhere.** A line is `VIDEO START END##sentence.`, the length of the video is in the table of
# Charades. Sentences may hold a `#` of their own. One moment in seven ends after its video, by up to 1.5 s.

# %%
imitate("charades_sta", charades_sta_train_txt="AB1CD 2.0 9.1##person #1 opens a door.\nAB1CD 24.3 31.2##a person sits down.\n",
        Charades_v1_train_csv="id,length\nAB1CD,30.10\n")
show("charades_sta", "train")

# %% [markdown]
# **QVHighlights has several windows for one query**, on a grid of 2 s, and three people's rating of every clip in them. The video id holds the YouTube id and the
# span that was cut out; YouTube ids may contain `_`, so it is read from the right. And the span in the id is not the
# duration: 213 training rows are shorter.

# %%
imitate("qvhighlights", highlight_train_release_jsonl=json.dumps({
    "qid": 7, "query": "A chef tastes the soup.", "vid": "a_b_60.0_210.0", "duration": 150, "relevant_windows": [[0, 4], [10, 12]],
    "relevant_clip_ids": [0, 1, 5], "saliency_scores": [[2, 3, 4], [4, 4, 4], [1, 0, 2]]}))
show("qvhighlights", "train")

# %% [markdown]
# **DiDeMo counts in segments of 5 s**, first and last *included*, one pair for each annotator. **TVR** says of each query whether it needs the video (`v`), the
# subtitles (`t`) or both. Its public test file is blind: a description, and neither video nor time.

# %%
imitate("didemo", val_data_json=json.dumps([{"annotation_id": 3, "description": "the dog leaves", "video": "x.mov",
                                             "num_segments": 6, "times": [[1, 1], [1, 2], [1, 1], [5, 5]]}]))
show("didemo", "val")
imitate("tvr", tvr_val_release_jsonl=json.dumps({"desc_id": 9, "desc": " Ann hands Bob a cup. ", "vid_name": "show_s01e01_seg01_clip_00",
                                                 "ts": [3, 8.42], "duration": 61.46, "type": "vt"}))
show("tvr", "val")

# %% [markdown]
# ### Exercise A1.1 · A line of Charades-STA *(10 min, ★☆☆)*
#
# Given a line and the durations of all videos (a dict), return `(video, start, end, text)`, the moment clipped to the video. Return
# `None` where no time is left: the moment runs backwards, or starts at or after the end of the video.
#
# <details><summary>Hint</summary>
#
# `partition` cuts at the first place only. Clip first, compare afterwards: then one comparison finds both kinds of bad rows.
#
# </details>

# %% tags=["exercise"]
def parse_line(line, durations):
    """(video, start, end, text) of a line of Charades-STA, clipped to the video, or None."""
    # BEGIN SOLUTION
    head, _, text = line.partition("##")
    video, start, end = head.split()
    start, end = max(0.0, float(start)), min(float(end), durations[video])
    if start >= end:
        return None
    return video, start, end, text.strip()
    # END SOLUTION

# %% tags=["check"]
lengths = {"AB1CD": 30.1, "EF2GH": 12.0}
check("A1.1", parse_line("AB1CD 2.0 9.1##a person opens a door.", lengths), ("AB1CD", 2.0, 9.1, "a person opens a door."))
check("A1.1", parse_line("EF2GH 8.0 13.4##person #1 waves.\n", lengths), ("EF2GH", 8.0, 12.0, "person #1 waves."), hint="clip to the video; a `#` in the sentence stays; the line break goes")
check("A1.1", parse_line("AB1CD 20.9 12.0##a person sits.", lengths), None, hint="it runs backwards: leave it out, do not swap")
check("A1.1", parse_line("EF2GH 12.5 14.0##a person sits.", lengths), None, hint="it starts after the video: nothing is left of it")
check("A1.1", parse_line("EF2GH 12.0 14.0##a person sits.", lengths), None, hint="it starts where the video ends: nothing is left")
check("A1.1", parse_line("EF2GH -0.5 3.0##a person sits.", lengths), ("EF2GH", 0.0, 3.0, "a person sits."), hint="a start before the video becomes 0")
check("A1.1", parse_line("EF2GH 0.0 12.0##scene ## two.", lengths), ("EF2GH", 0.0, 12.0, "scene ## two."), hint="only the first ## cuts")

# %% [markdown]
# ### Exercise A1.2 · What DiDeMo's annotators agree on *(10 min, ★★☆)*
#
# Given `times`, the `[first, last]` segments of all annotators, return `((start, end), share)`: the choice that most of them made, in
# seconds, and the share of annotators who made it. Of equally frequent choices take the one that was made first.
#
# <details><summary>Hint</summary>
#
# Segment 1 runs from 5 s to 10 s. `max` with a `key` returns the first of equals, and a dict keeps the order in which keys came.
#
# </details>

# %% tags=["exercise"]
def consensus(times):
    """((start, end) in seconds, share of the annotators) of the most frequent choice."""
    # BEGIN SOLUTION
    choices = [tuple(pair) for pair in times]
    votes = {choice: choices.count(choice) for choice in choices}
    first, last = max(votes, key=votes.get)  # of equals the one made first
    return (5.0 * first, 5.0 * (last + 1)), votes[first, last] / len(choices)
    # END SOLUTION

# %% tags=["check"]
check("A1.2", consensus([[1, 1], [1, 1], [0, 0], [1, 1]]), ((5.0, 10.0), 0.75), hint="segment 1 is 5 s to 10 s: the last segment is included")
check("A1.2", consensus([[0, 0], [1, 3], [2, 3], [3, 3], [0, 0]]), ((0.0, 5.0), 0.4), hint="count whole pairs, not starts and ends")
check("A1.2", consensus([[3, 3], [2, 4], [3, 3], [2, 4]]), ((15.0, 20.0), 0.5), hint="a tie: the choice that was made first")
check("A1.2", consensus([[2, 4], [3, 3], [3, 3], [2, 4]]), ((10.0, 25.0), 0.5), hint="a tie: the one made first, not the first to be made twice")
check("A1.2", consensus([[5, 5]]), ((25.0, 30.0), 1.0), hint="one annotator")

# %% [markdown]
# Continue with ours: `read_split` puts the different choices into `moments`, the most frequent first. That is why the DiDeMo query above has three moments.
#
# ## What is odd, and what becomes of it
#
# The readers follow one rule: clip what leaves the video, leave out what has no time left, keep everything else, and count all of it. The columns are
# ends after the video, moments that do not run forwards, repeated rows, texts with outer blanks, and how many queries were left out.

# %%
columns = {"past the end": "ends past the video", "backwards": "starts at or after the end", "repeated": "exact repetitions", "blanks": "texts with outer blanks"}
print(f"{'':32}" + "".join(f"{name:>14}" for name in [*columns, "left out"]))
for dataset, split in [("tacos", "train"), ("activitynet_captions", "train"), ("charades_sta", "train"), ("charades_sta", "test"),
                       ("charades_cd", "test_ood"), ("qvhighlights", "val"), ("tvr", "val"), ("didemo", "test")]:
    found = datasets[dataset][split]["findings"]
    left_out = datasets[dataset][split]["rows"] - datasets[dataset][split]["queries"]
    print(f"{dataset + ' ' + split:32}" + "".join(f"{found.get(name, 0):>14,}" for name in columns.values()) + f"{left_out:>14}")

# %% [markdown]
# **In TACoS one query may mean several moments.** Of 4,001 test queries 642 have a twin: the same sentence, the same video, another moment. A model that sees only sentence and
# video gives both the same answer, so it cannot be right on both unless one window reaches the IoU with the two.
# For each such group we find the window that hits most (an exact search), and so the **ceiling** of R@1:

# %%
for name, ceiling in summary["ceilings"].items():
    print(f"{name:28}", *(f"IoU={m}: {ceiling[f'R@1, IoU={m}']:6.2f}" for m in (0.3, 0.5, 0.7)), f"  ambiguous: {ceiling['queries with another moment for the same text']}")

# %% [markdown]
# On the test split at IoU=0.5 a perfect model gets 97.9 and not 100. That is honest to know, and also not the problem of today's models: the run of ACB + VTC (notebooks 3 and 4) that
# we meet below evaluates at 37.4 at best.
#
# ## How long videos and moments are
#
# The datasets do not pose the same task. The tick is the median; the scale is logarithmic.

# %%
shown = {"TACoS": ("tacos", "train"), "ActivityNet": ("activitynet_captions", "train"), "Charades-STA": ("charades_sta", "train"),
         "QVHighlights": ("qvhighlights", "train"), "TVR": ("tvr", "val"), "DiDeMo": ("didemo", "val")}
edges = summary["edges"]["seconds"]


def histogram_rows(what):
    own = {name: datasets[dataset][split][what] for name, (dataset, split) in shown.items()}
    used = [k for row in own.values() for k, count in enumerate(row["counts"]) if count]
    low, high = min(used), max(used) + 1  # leave out what is empty everywhere
    return {name: (edges[low : high + 1], row["counts"][low:high]) for name, row in own.items()}, {name: row["median"] for name, row in own.items()}


rows, medians = histogram_rows("video duration")
draw_histograms(rows, "duration of the video (s)", medians, log=True)
rows, medians = histogram_rows("moment length")
draw_histograms(rows, "length of the moment (s)", medians, log=True)
plt.show()
for name, (dataset, split) in shown.items():
    own = datasets[dataset][split]
    print(f"{name:13} moments cover {100 * own['moment share']['median']:4.1f} % of their video (median)")

# %% [markdown]
# A moment of TACoS is a needle, 6 % of the video; one of Charades-STA or ActivityNet covers a quarter. The longer the moments, the better a long
# answer does without knowing anything. QVHighlights and DiDeMo show their grids: their moments can only have certain lengths, and exact ties of the IoU will follow from that.
#
# ## Where moments lie
#
# Each map counts moments by start and end. Short moments lie near the diagonal; the upper left corner is the whole video.

# %%
def maps(dataset, splits):
    return {split: datasets[dataset][split]["location"] for split in splits}


draw_locations({name: datasets[dataset][split]["location"] for name, (dataset, split) in list(shown.items())[:4]})
draw_locations(maps("charades_cd", ["train", "test_iid", "test_ood"]), title="Charades-CD: one corpus, split anew so that the test differs")
plt.show()

# %% [markdown]
# In Charades many moments begin with the video or end with it. This is the **location bias**. Charades-CD and ActivityNet-CD were
# made against it: their `test_ood` holds pairs from where training moments are rare. How different are two maps? Half the sum of
# absolute differences of the shares is 0 for equal maps and 1 for maps that do not meet. A small split differs by chance, so beside
# it stands what a random sample of the same size, drawn from the training map, gives.

# %%
def share(grid):
    return np.array(grid, dtype=float).ravel() / np.sum(grid)


generator = np.random.default_rng(0)
for dataset, split in [("charades_sta", "test"), ("charades_cd", "test_iid"), ("charades_cd", "test_ood"), ("charades_cg", "novel_composition"),
                       ("activitynet_cd", "test_iid"), ("activitynet_cd", "test_ood"), ("activitynet_captions", "val_1"), ("activitynet_captions", "val_2")]:
    train, other = share(datasets[dataset]["train"]["location"]), datasets[dataset][split]["location"]
    chance = generator.multinomial(np.sum(other), train)
    print(f"{dataset + ' ' + split:32} {abs(train - share(other)).sum() / 2:.2f}   by chance {abs(train - share(chance)).sum() / 2:.2f}")

# %% [markdown]
# Three things show. The `iid` splits hardly differ more than by chance. `test_ood` is far away, a compositional split such as `novel_composition` much less: its novelty is in words, not places. And
# `val_2` of ActivityNet, the usual test set, differs from train more than `val_1` does, on the same videos: there the median moment is 26 s long, in `val_1` 23 s. Other annotators mark other moments.
#
# Now be a blind model. You answer every query with one window. The orange line encloses all moments that the window hits; the numbers above the maps are the share of
# moments in it, counted in cells. With one moment a query that is nearly your R@1, for very short windows only roughly; on QVHighlights, where any of several moments counts, R@1 is higher.

# %%
def be_blind(dataset, start, end, iou):
    splits = {"charades_cd": ["train", "test_iid", "test_ood"], "activitynet_cd": ["train", "test_iid", "test_ood"],
              "charades_sta": ["train", "test"], "tacos": ["train", "test"], "qvhighlights": ["train", "val"]}[dataset]
    window = (start, min(max(end, start + 0.05), 1.0))
    return draw_locations(maps(dataset, splits), window, iou, title=f"Moments hit at IoU={iou:.2f} (in cells of a twentieth) by the window {window[0]:.2f} to {window[1]:.2f}")


Explorer(
    be_blind, dataset=["charades_cd", "activitynet_cd", "charades_sta", "tacos", "qvhighlights"], start=(0.0, 0.9, 0.0), end=(0.05, 1.0, 0.3), iou=(0.1, 0.9, 0.5),
    caption="Find the window with the most hits on train, then look at test_ood. Lower the IoU: which window wins now?",
    alt="Maps of start against end of moments for each split, with the region that a constant window hits",
)

# %% [markdown]
# ## What people say
#
# How many different words have been read after so many queries, and how often does a test query hold a word that training never said?

# %%
figure, axis = plt.subplots(figsize=(9, 2.9))
for index, (name, (dataset, split)) in enumerate(shown.items()):
    growth = datasets[dataset][split]["words"]["growth"]
    axis.plot(summary["edges"]["growth"][: len(growth)], growth, **model_style(index), label=name)
axis.set(xscale="log", yscale="log", xlabel="queries read", ylabel="different words")
axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
plt.tight_layout()
plt.show()
for name, (dataset, split) in shown.items():
    words = datasets[dataset][split]["words"]
    print(f"{name:13} {words['mean']:4.1f} words a query; first verbs:", ", ".join([verb for verb in words["first verbs"] if verb != "(none)"][:6]))

for dataset, split in [("charades_sta", "test"), ("tacos", "test"), ("activitynet_captions", "val_2"), ("qvhighlights", "val"), ("charades_cg", "test_trivial"), ("charades_cg", "novel_word")]:
    print(f"{dataset + ' ' + split:28} {datasets[dataset][split]['words']['queries with a word that train has not']:5.1f} % of the queries hold a new word")

# %% [markdown]
# TACoS and Charades are small worlds, with at most a thousand words after 3,000 queries; in the others words keep coming. Verbs tell more: *gets, takes, cuts* is a kitchen; *shown, seen* says nothing about what happens.
#
# ## Answers that see nothing
#
# Four answers look at neither video nor query: the **full video**; the **train median**, from the median start to the median end of the training moments; the
# **constant window** that hits most training moments at this IoU; and a **random moment** (mean and standard deviation of three seeds). DiDeMo's constants are learnt from its val split, TVR has none. Where a query has several moments,
# as in QVHighlights and DiDeMo, one that is hit is enough.

# %%
level = {0.3: 0, 0.5: 1, 0.7: 2}
tests = {"TACoS test": "tacos test", "ActivityNet val_2": "activitynet_captions val_2", "ActivityNet OOD-1": "activitynet_captions val_2, OOD-1", "ActivityNet OOD-2": "activitynet_captions val_2, OOD-2",
         "Charades-STA test": "charades_sta test", "Charades-STA OOD-1": "charades_sta test, OOD-1", "Charades-STA OOD-2": "charades_sta test, OOD-2", "Charades-CD iid": "charades_cd test_iid", "Charades-CD ood": "charades_cd test_ood",
         "ActivityNet-CD iid": "activitynet_cd test_iid", "ActivityNet-CD ood": "activitynet_cd test_ood", "Charades-CG novel comp.": "charades_cg novel_composition", "Charades-CG novel word": "charades_cg novel_word", "QVHighlights val": "qvhighlights val", "DiDeMo test": "didemo test", "TVR val": "tvr val"}


def blind(name, answer, m):
    scores = summary["model-free"][tests[name]]
    key = f"constant, IoU={m}" if answer == "constant window" else answer
    return scores[key][level[m]] if key in scores else None


for m in (0.3, 0.5):
    rows = {name: {answer: blind(name, answer, m) for answer in ("full video", "train median", "constant window", "random moment")} for name in tests}
    rows = {name: {answer: value for answer, value in row.items() if value is not None} for name, row in rows.items()}
    errors = {name: {"random moment": blind(name, "random moment, sd", m)} for name in tests}
    draw_dots(rows, f"R@1, IoU={m} (%)", errors, limit=70)
plt.show()
for name in ("Charades-CD iid", "Charades-CD ood", "ActivityNet-CD iid", "ActivityNet-CD ood", "Charades-STA test", "Charades-STA OOD-1"):
    print(f"{name:20}", "   ".join(f"{answer} {blind(name, answer, 0.3):4.1f} and {blind(name, answer, 0.5):4.1f}" for answer in ("full video", "train median", "constant window")))
assert blind("Charades-CD ood", "constant window", 0.5) < blind("Charades-CD iid", "constant window", 0.5) / 3
assert blind("Charades-CD ood", "train median", 0.5) > 2 * blind("Charades-CD iid", "train median", 0.5)
print("the ood split of Charades breaks the window that fits train best, and doubles the train median")

# %% [markdown]
# The numbers are R@1 at IoU=0.3 and 0.5. Read the last line twice. An out-of-distribution split is not hard as such; it is hard for the answer that training likes best. On Charades-CD, at IoU=0.5, the constant window falls
# from 31 to 10 while the train median rises from 13 to 27, and at IoU=0.3 the full video rises from 27.5 to 59.1. So a model that drops less
# on `ood` than another has shown less of *this* bias, and not yet that it looks at the video. On ActivityNet-CD all three fall. Ten seconds of noise do the same to Charades-STA: the constant window
# falls from 31 to 0, because it began with the video, and the train median rises from 15 to 25.
#
# > **Paper and code.** We checked these numbers against print where we could: the full video's R@1, IoU=0.7 in the figure that the paper's repository shows is 0.0 on both tests of
# > Charades-CD, 13.8 on `test_iid` of ActivityNet-CD and 0.0 on its `test_ood`. Ours are 0.0, 13.77 and 0.0.
#
# ### Exercise A1.3 · Discounted recall *(10 min, ★★☆)*
#
# At low IoU a long answer is cheap. Yuan et al. multiply each hit by how well its two ends fit:
#
# $$\mathrm{dR@1, IoU}{=}m = \frac{1}{N}\sum_i \big[\mathrm{IoU}_i \ge m\big]\,\Big(1 - \frac{|\hat s_i - s_i|}{d_i}\Big)\Big(1 - \frac{|\hat e_i - e_i|}{d_i}\Big)$$
#
# Given one prediction and one true moment a query, both `(N, 2)` in seconds, durations `(N,)` and $m$, return it in percent, as a Python float.
#
# <details><summary>Hint</summary>
#
# The IoU of row i with row i needs no matrix. A boolean times a float is a float.
#
# </details>

# %% tags=["exercise"]
def discounted_recall(predicted, truth, durations, iou):
    """dR@1, IoU=iou in percent for predictions (N, 2), true moments (N, 2) and durations (N,), seconds."""
    # BEGIN SOLUTION
    shared = (torch.minimum(predicted[:, 1], truth[:, 1]) - torch.maximum(predicted[:, 0], truth[:, 0])).clamp(min=0)
    lengths = (predicted[:, 1] - predicted[:, 0]) + (truth[:, 1] - truth[:, 0])
    hit = shared / (lengths - shared) >= iou  # (N,)
    errors = (predicted - truth).abs() / durations[:, None]  # (N, 2)
    return 100 * (hit * (1 - errors[:, 0]) * (1 - errors[:, 1])).mean().item()
    # END SOLUTION

# %% tags=["check"]
def table(*rows):
    return torch.tensor(rows)


check("A1.3", discounted_recall(table([1.0, 9.0]), table([0.0, 10.0]), table(10.0), 0.7), 81.0, hint="IoU 0.8 is a hit, both ends are off by a tenth: 0.9 * 0.9")
check("A1.3", discounted_recall(table([0.0, 10.0]), table([0.0, 5.0]), table(10.0), 0.5), 50.0, hint="IoU of exactly 0.5 is a hit; its end is off by half the video")
check("A1.3", discounted_recall(table([0.0, 10.0]), table([0.0, 4.0]), table(10.0), 0.5), 0.0, hint="IoU 0.4 is no hit, however near the ends are")
check("A1.3", discounted_recall(table([2.0, 8.0], [0.0, 10.0]), table([2.0, 8.0], [0.0, 8.0]), table(10.0, 20.0), 0.5), 95.0, hint="errors are shares of the video, here of 20 s, not of the moment")
check("A1.3", discounted_recall(table([2.0, 8.0], [0.0, 10.0]), table([4.0, 8.0], [50.0, 60.0]), table(20.0, 100.0), 0.5), 45.0, hint="to start early is an error, too; a miss counts as 0 in the mean")
check("A1.3", discounted_recall(table([0.0, 6.0]), table([3.0, 9.0]), table(30.0), 0.5), 0.0, hint="the IoU is 3/9: divide by the union")

# %% [markdown]
# Continue with ours. What does the discount change for the answers of QVHighlights val, four published models and the full video?

# %%
published = summary["published"]
axis_ious = published["axis"]
at = {m: axis_ious.index(m) for m in (0.3, 0.5, 0.7, 0.9)}
for name in ("Moment-DETR", "UniVTG", "CG-DETR", "CG-DETR, CLIP only", "full video"):
    curve = published["curves"][name]
    print(f"{name:20}", "  ".join(f"IoU={m}: {curve['R@1'][at[m]]:5.2f} -> {curve['dR@1'][at[m]]:5.2f}" for m in (0.3, 0.5, 0.7)))

# %% [markdown]
# The full video loses 40 % of its score at IoU=0.3, the models 7 to 9 %. The discount does what it promises for a long answer, and it leaves the order of the
# models at IoU=0.5 as it was.
#
# ## What published models answer
#
# The repositories of Moment-DETR, UniVTG and CG-DETR hold files of predictions on QVHighlights val: 1,550 queries, up to ten windows each. One file is a sample, one an
# unnamed run, so take them for what they are: single runs, not their papers' tables. How to read the picture, on invented answers:

# %%
invented = {
    "A dog runs after a ball.": ([(20, 42), (90, 100)], {
        "model A": [(18, 44, 0.9), (88, 100, 0.7), (10, 60, 0.4), (120, 150, 0.2)], "model B": [(70, 98, 0.8), (18, 40, 0.6), (0, 20, 0.3), (100, 140, 0.1)],
        "model C": [(100, 150, 0.5), (20, 42, 0.4), (90, 100, 0.3), (50, 60, 0.1)]}),
    "Two people talk in a car.": ([(0, 56)], {
        "model A": [(0, 30, 0.7), (30, 60, 0.6), (60, 90, 0.2), (100, 140, 0.1)], "model B": [(2, 58, 0.9), (60, 150, 0.3), (0, 10, 0.2), (140, 150, 0.1)],
        "model C": [(0, 150, 0.5), (0, 75, 0.4), (75, 150, 0.3), (50, 60, 0.1)]}),
}


def read_picture(query, windows):
    truth, answers = invented[query]
    return draw_predictions(150, truth, answers, query, top=windows)


Explorer(
    read_picture, query=list(invented), windows=(1, 4, 2),
    caption="Green is the truth. The first window of each model is full orange, the others paler and flatter with their score; the number is the IoU of the first. Whose second window is better than its first?",
    alt="Bars of true moments and of the windows of three invented models over 150 seconds",
)

# %% [markdown]
# Now the real ones. The cells below show a picture when the files are there and nothing when they are not: run `bash data_download.sh qvhighlights predictions` once, then run them again.
# The queries are those on which the four models differ most, and those with the most true windows.

# %%
from vmrlib.data.datasets import MissingFile
from vmrlib.data.predictions import read_predictions
from vmrlib.data.summary import results_folder
from vmrlib.data.summary_results import MODELS
from vmrlib.metrics import analyse, best_iou

real, answers = {}, {}
try:
    files = results_folder("qvhighlights", MODELS.values())
    real = {query.id: query for query in read_split("qvhighlights", "val").queries}
    answers = {model: {one.query_id: one for one in read_predictions(files / path)} for model, path in MODELS.items()}
except MissingFile:
    pass  # the course runs without

# %% tags=["nbval-ignore-output"]
def browse(query, models, windows):
    chosen = list(answers) if models == "all" else [models]
    ranked = {model: np.column_stack([answers[model][query.id].moments, answers[model][query.id].scores]).tolist() for model in chosen}
    saliency = np.zeros(int(query.duration // 2))
    for clip, ratings in zip(query.extra["relevant_clip_ids"], query.extra["saliency_scores"]):
        saliency[clip] = np.mean(ratings)
    return draw_predictions(query.duration, query.moments, ranked, query.text, windows, saliency)


first = {model: best_iou([own[name].moments for name in real], [query.moments for query in real.values()]).numpy() for model, own in answers.items() if real}
spread = np.max(list(first.values()), axis=0) - np.min(list(first.values()), axis=0) if real else []
order = [list(real.values())[k] for k in np.argsort(-np.array(spread), kind="stable")]
order = order[:15] + sorted(order, key=lambda query: -len(query.moments))[:10]
Explorer(
    browse, query={f"{query.id}: {query.text[:60]}": query for query in order}, models=["all", *answers], windows=(1, 10, 3),
    caption="Yellow clips are those that people rate highest, dark ones are rated 0 or not at all. Does a model miss, or does it find another window than the one that counts?",
    alt="Bars of true windows and of the windows of four published models over 150 seconds, below the rated saliency",
) if real else None

# %%
if real:
    for model, iou in first.items():
        assert abs(100 * (iou >= 0.5).mean() - published["scores"][model]["R@1, IoU=0.5"][0]) < 0.01, model
print("where the files are, R@1 of what is drawn equals the stored summary")

# %% [markdown]
# *Where* is a model right? `python -m vmrlib analyse PREDICTIONS` breaks any such file down by length and place of the moment, length of the query and first verb; in a notebook:

# %% tags=["nbval-ignore-output"]
if real:
    from vmrlib.viz.analysis import draw_analysis

    found = analyse([answers["CG-DETR"][name].moments for name in real], list(real.values()))
    draw_analysis(found, "CG-DETR, QVHighlights val")
    plt.show()

# %%
by_length = {model: [published["official"][model][f"MR-{length}-R1@0.5"] for length in ("short", "middle", "long")] for model in MODELS}
assert all(short < middle / 3 for short, middle, _ in by_length.values())
for model, values in by_length.items():
    print(f"{model:20} R@1, IoU=0.5 of moments up to 10 s: {values[0]:5.2f}, up to 30 s: {values[1]:5.2f}, longer: {values[2]:5.2f}")
own = published["short"]
print(own["short moments only"], "of", own["queries"], "queries have short moments only; R@1, IoU=0.5:", ", ".join(f"{name} {value:.1f}" for name, value in own["R@1, IoU=0.5"].items()))

# %% [markdown]
# In the first four rows only moments of that length count. 342 of the 429 queries with a short moment have a longer one too, and a first answer that hits the longer one is a miss there. The last row has the queries with short
# moments only: harder than the 54 to 68 of all queries, but not as hard as 7 to 15. A breakdown needs the same care as an average.
#
# ## Is R@1, IoU=m a good metric?
#
# A metric is good when better models get better numbers. Here are the same four files under eight metrics. A line that crosses another is a pair of models that changes places.

# %%
columns = {"R@1\nIoU=0.3": "R@1, IoU=0.3", "R@1\nIoU=0.5": "R@1, IoU=0.5", "R@1\nIoU=0.7": "R@1, IoU=0.7", "R@1\nIoU=0.9": "R@1, IoU=0.9", "mIoU": "mIoU", "mAP\nIoU=0.5": "mAP@0.5", "mAP": "mAP"}
ranked = {model: {label: published["scores"][model][metric][0] for label, metric in columns.items()} for model in MODELS}
ranked = {model: row | {"mAP, long\nmoments": published["official"][model]["MR-long-mAP"]} for model, row in ranked.items()}
draw_ranking(ranked)
plt.show()
without = [name for name in published["scores"] if name not in MODELS]
for label in ranked["UniVTG"]:
    metric, best = columns.get(label), max(ranked, key=lambda model: ranked[model][label])
    no_model = max(without, key=lambda name: published["scores"][name][metric][0]) if metric else "(not computed)"
    print(f"{' '.join(label.split()):18} first: {best:20} first without a model: {no_model}")

# %% [markdown]
# UniVTG leads at IoU=0.5, CG-DETR at 0.9, and the CLIP-only version of CG-DETR, last of the three under most, leads under mAP at IoU=0.5 and on long moments. Only the distance to Moment-DETR is safe from the
# choice of metric. The answers without a model change places, too: which one is the one to beat depends on the metric. Whether the other changes are more than chance, we ask below. The whole axis:

# %%
kinds = {"R@1": "R@1", "R@1, IoU > m": "R@1, >", "dR@1": "dR@1", "R@5": "R@5", "mAP": "mAP"}


def along_the_axis(metric, answers, iou):
    who = [name for name in published["curves"] if answers == "all" or (name in MODELS) == (answers == "published models")]
    curves = {name: published["curves"][name][kinds[metric]] for name in who}
    bands = {name: (published["curves"][name]["R@1 low"], published["curves"][name]["R@1 high"]) for name in who} if metric == "R@1" else None
    return draw_recall_axis(axis_ious, curves, bands, mark=iou, ylabel=f"{metric} (%)")


Explorer(
    along_the_axis, metric=list(kinds), answers=["published models", "no model", "all"], iou=(0.05, 0.95, 0.5),
    caption="For R@1 the bands are 95 % intervals over videos. Move the IoU from 0.05 to 0.95: who leads when? Then choose IoU > m and look at 0.5.",
    alt="Curves of a metric over the IoU that counts as right, one for each model, with the values at the chosen IoU",
)

# %% [markdown]
# ### At least, or more than?
#
# At IoU=0.05 the full video is first of all, with 98.9: so low a threshold asks nothing. Another choice hides in the formula. An IoU of exactly 0.5 is a hit for some evaluators and a miss for others. On a grid it happens all the time.

# %%
from vmrlib.metrics import CONVENTIONS

for sign in (">=", ">"):
    print(f"IoU {sign} m:", ", ".join(name for name, own in CONVENTIONS.items() if own == sign))
for model in MODELS:
    curve, ties = published["curves"][model], published["exact ties"][model]["0.5"]
    print(f"{model:20} R@1 with >=: {curve['R@1'][at[0.5]]:.2f}   with >: {curve['R@1, >'][at[0.5]]:.2f}   queries with an IoU of exactly 0.5: {ties}")

# %% [markdown]
# With `>` CG-DETR loses 2.8 points and UniVTG nothing: the sign alone makes a gap of 1.0 a gap of 3.9. Never compare two tables before you know it. The reason is the grid. CG-DETR answers in
# whole clips of 2 s, as the annotators did, and UniVTG in fractions of seconds. Is that also why CG-DETR leads at high IoU? Round UniVTG's windows to the grid and look:

# %%
print("R@1 of UniVTG      >= 0.5   > 0.5   >= 0.9   >= 0.95   on the grid")
raw, rounded, other = published["curves"]["UniVTG"], published["rounded"]["UniVTG"], published["curves"]["CG-DETR"]
for name, curve, on_grid in (("as it is", raw, rounded["on the grid before"]), ("rounded to 2 s", rounded, 100.0), ("beside: CG-DETR", other, published["rounded"]["CG-DETR"]["on the grid before"])):
    print(f"{name:17} {curve['R@1'][at[0.5]]:7.2f} {curve['R@1, >'][at[0.5]]:7.2f} {curve['R@1'][at[0.9]]:8.2f} {curve['R@1'][-1]:9.2f} {on_grid:11.1f} %")
assert rounded["R@1"][-1] - raw["R@1"][-1] > 0.8 * (other["R@1"][-1] - raw["R@1"][-1])

# %% [markdown]
# The grid explains most of CG-DETR's lead at IoU=0.95 and half of that at 0.9. By rounding alone UniVTG gains where the sign is `>=`, and loses where it is `>`.
#
# ### What R@1 cannot see
#
# Make every first window longer about its middle, and nothing else. R@1 at IoU=0.3 does not notice, up to one and a half times the length. And R@1 takes the best of several true windows, so one of 25 is
# enough: does that make queries with many windows easy?

# %%
print("length      " + "".join(f"{model:>34}" for model in ("UniVTG", "CG-DETR")))
for factor in ("0.75", "1.0", "1.25", "1.5", "2.0"):
    cells = [published["stretched"][model][factor] for model in ("UniVTG", "CG-DETR")]
    print(f"times {factor:4}  " + "".join(f"{f'0.3: {row[0]:.1f}  0.5: {row[1]:.1f}  0.7: {row[2]:.1f}':>34}" for row in cells))
assert published["stretched"]["CG-DETR"]["1.5"][0] > published["stretched"]["CG-DETR"]["1.0"][0]
print("CG-DETR gains at IoU=0.3 by making every window half as long again")
for count, row in published["R@1, IoU=0.5 by number of true windows"].items():
    print(f"{count:11} true windows ({row['queries']:4} queries), IoU=0.5:", "  ".join(f"{model} {row[model]:.1f}" for model in ("UniVTG", "CG-DETR", "random moment")))

# %% [markdown]
# No: for the models they are harder (63 queries only, and their windows are shorter). What R@1 does not say is how many of the true windows were found. That is what mAP asks.
#
# ### Exercise A1.4 · Average precision of one query *(15 min, ★★★)*
#
# `overlap` `(N, M)` is the IoU of $N$ answers, best first, with $M$ true moments. Each answer in turn takes the true moment that is still free and overlaps it best; if their IoU is at least $m$
# it is a hit, and the moment is taken. After answer $n$ the precision is hits so far over $n$. AP adds, for every hit, the best precision there *or later*, and divides by $M$.
#
# <details><summary>Hint</summary>
#
# Set the column of a taken moment to -1. Collect hits in a list first, then precisions, then the maxima from each hit on. Without answers AP is 0.
#
# </details>

# %% tags=["exercise"]
def average_precision(overlap, iou):
    """AP (0..1) of one query from the IoU (N, M) of its answers, best first, with its true moments."""
    # BEGIN SOLUTION
    free, hits = overlap.clone(), []
    for row in free:  # a view: what is taken below is taken for later rows
        best = row.argmax()
        hits.append(bool(row[best] >= iou))
        if hits[-1]:
            free[:, best] = -1
    precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    best_from_here = [max(precision[n:]) for n in range(len(hits)) if hits[n]]
    return sum(best_from_here) / overlap.shape[1]
    # END SOLUTION

# %% tags=["check"]
check("A1.4", average_precision(torch.tensor([[0.9], [0.8]]), 0.5), 1.0, hint="the first answer is right; the second finds nothing free")
check("A1.4", average_precision(torch.tensor([[0.2], [0.8]]), 0.5), 0.5, hint="a hit at rank 2: precision 1/2")
check("A1.4", average_precision(torch.tensor([[0.9, 0.0], [0.8, 0.1], [0.0, 0.7]]), 0.5), 5 / 6, hint="hits at 1 and 3, precisions 1 and 2/3, two true moments")
check("A1.4", average_precision(torch.tensor([[0.1, 0.1], [0.9, 0.0], [0.0, 0.9]]), 0.5), 2 / 3, hint="at rank 2 the precision is 1/2, later 2/3: the best one counts")
check("A1.4", average_precision(torch.tensor([[0.5, 0.6], [0.0, 0.7], [0.5, 0.0]]), 0.5), 5 / 6, hint="the first answer takes the second moment, which fits it better; an IoU of 0.5 is enough")
check("A1.4", average_precision(torch.tensor([[0.9, 0.0], [0.3, 0.2]]), 0.5), 0.5, hint="the second true moment is never found: divide by all of them")
check("A1.4", average_precision(torch.tensor([[0.9, 0.6], [0.8, 0.7]]), 0.5), 1.0, hint="the best one of row 2 is taken: it takes the next that is free")
overlap = torch.tensor([[0.9, 0.0]])
check("A1.4", average_precision(overlap, 0.5), 0.5, hint="one answer, two true moments: divide by the moments")
check("A1.4", overlap, torch.tensor([[0.9, 0.0]]), hint="work on a copy: the caller's matrix must stay as it was")
check("A1.4", average_precision(torch.zeros(0, 2), 0.5), 0.0, hint="no answers: 0")

# %% [markdown]
# Continue with ours, which does it for all queries and thresholds at once. The same three answers as in the third case:

# %%
from vmrlib.metrics import average_precision

windows, scores, truth = [[0.0, 9.0], [0.0, 8.0], [20.0, 27.0]], [0.9, 0.8, 0.7], [[0.0, 10.0], [20.0, 30.0]]
print("AP at IoU = 0.5, 0.75, 0.95:", average_precision([windows], [scores], [truth], ious=(0.5, 0.75, 0.95)).round(3).tolist())

# %% [markdown]
# ## How sure is a number?
#
# The queries of a test set are a sample. With other videos the score would be another one, and the **bootstrap** says by how much: draw as many videos as there are, with replacement, take the mean over their
# queries, do it 2,000 times, and cut off 2.5 % on both sides. Videos are drawn and not queries, because queries of one video rise and fall together.
#
# ### Exercise A1.5 · Means of resampled videos *(15 min, ★★☆)*
#
# Given `hits` `(Q,)`, 1.0 or 0.0 a query, `video` `(Q,)`, the index of its video, and `draws` `(R, V)`, the videos of $R$ resamples, return the mean over the *queries* of each resample, a tensor `(R,)`.
# A video that is drawn twice brings its queries twice.
#
# <details><summary>Hint</summary>
#
# First the sum of hits and the number of queries of each video (`index_add`), then look both up at `draws`, sum over the videos, and only then divide.
#
# </details>

# %% tags=["exercise"]
def resampled_means(hits, video, draws):
    """Mean of the hits (Q,) of queries in the videos of each resample: video (Q,), draws (R, V) -> (R,)."""
    # BEGIN SOLUTION
    nothing = torch.zeros(int(video.max()) + 1)  # one number a video
    total = nothing.index_add(0, video, hits)
    size = nothing.index_add(0, video, torch.ones_like(hits))
    means = total[draws].sum(dim=1) / size[draws].sum(dim=1)
    return means
    # END SOLUTION

# %% tags=["check"]
hits, video = torch.tensor([1.0, 1.0, 0.0, 1.0]), torch.tensor([0, 0, 1, 2])
check("A1.5", resampled_means(hits, video, torch.tensor([[0, 1, 2]])), torch.tensor([0.75]), hint="every video once: the plain mean")
check("A1.5", resampled_means(hits, video, torch.tensor([[1, 1, 2], [0, 0, 1]])), torch.tensor([1 / 3, 0.8]), hint="video 0 twice and video 1 once: four hits of five queries")
check("A1.5", resampled_means(torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0, 1, 1, 1]), torch.tensor([[0, 1], [1, 1]])), torch.tensor([0.25, 0.0]), hint="a video with three queries counts three times as much")
check("A1.5", resampled_means(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.tensor([[0]])), torch.tensor([0.5]), hint="one video: no spread at all, however many queries it has")

# %% [markdown]
# Continue with ours, `bootstrap_interval`. TACoS has 4,001 test queries, but 25 videos. The full video as the answer, its R@1 at IoU=0.3 with intervals over single queries and over whole videos:

# %%
from vmrlib.metrics import bootstrap_interval

for name, own in summary["intervals"].items():
    (a, b), (c, d) = own["over queries"], own["over videos"]
    print(f"{name:28} {own['queries']:6,} queries of {own['videos']:5,} videos: {own['R@1, IoU=0.3']:5.2f}   [{a:.2f}, {b:.2f}]   [{c:.2f}, {d:.2f}]   {(d - c) / (b - a):.1f} times as wide")
print("our own:", [round(100 * end, 1) for end in bootstrap_interval([1, 1, 0, 1, 0, 1], groups=["a", "a", "b", "b", "c", "c"])])

# %% [markdown]
# On TACoS the honest interval is nearly three times as wide. Now the four models. Each query is answered by both models of a pair, so the interval of the *difference* is what counts; a hollow point means that 0 lies inside: a difference is not shown.

# %%
pairs = ["UniVTG - CG-DETR", "UniVTG - CG-DETR, CLIP only", "CG-DETR - CG-DETR, CLIP only"]
rows = {f"{pair.replace(' - ', ' − ')}: {metric}": tuple(published["differences"][pair][metric]) for metric in ("R@1, IoU=0.5", "mAP", "mAP, long") for pair in pairs}
draw_intervals(rows, "difference in points, 95 % interval over videos", zero=0)
plt.show()
for pair in published["differences"]:
    shown_by = [metric for metric, (_, low, high) in published["differences"][pair].items() if low > 0 or high < 0]
    print(f"{pair}: shown by {len(shown_by)} of 9 metrics", f"({', '.join(shown_by)})" if 0 < len(shown_by) < 9 else "")

# %% [markdown]
# UniVTG before CG-DETR, by 1.03 points at IoU=0.5: not shown, by none of the nine metrics. So their change of places at IoU=0.9 is not shown either, nor the CLIP-only run's lead under mAP at IoU=0.5. One change of places *is* shown:
# UniVTG beats the CLIP-only run at R@1, IoU=0.5, and the CLIP-only run beats both others on long moments. There the metric asks another question, and the answer is another model. And all three files beat that of Moment-DETR.
#
# ### The best of forty
#
# The interval says nothing about how the run was chosen. Released training logs evaluate every few epochs, and the file that is published may be the best of them. Four logs, R@1, IoU=0.5 at each evaluation:

# %%
figure, axis = plt.subplots(figsize=(9, 3.2))
for index, (name, run) in enumerate(summary["training"].items()):
    values, colour = run["R@1, IoU=0.5"][-26:], model_style(index)["color"]
    axis.plot(values, linewidth=1.6, color=colour)
    axis.plot(int(np.argmax(values)), max(values), marker="*", markersize=14, color=colour)
    axis.text(0, max(values[:12]) + 0.9 if index != 1 else min(values[:8]) - 3.2, name, fontsize=10)  # the second below its line
axis.set(xlabel="evaluation (the last 26 of each log; a star marks the best)", ylabel="R@1, IoU=0.5 (%)", ylim=(30, 72))
plt.tight_layout()
plt.show()
for name, run in summary["training"].items():
    last = np.array(run["R@1, IoU=0.5"][-20:])
    print(f"{name:42} best of {len(run['R@1, IoU=0.5'])}: {max(run['R@1, IoU=0.5']):.2f}   last twenty: {last.mean():.2f} ± {last.std(ddof=1):.2f}")

# %% [markdown]
# CG-DETR's 67.35 is the best of its 40 evaluations on val; its last twenty average 65.6. Choosing on the split that is then reported is worth 1.8 points here, more than the distance to UniVTG
# (how that file was chosen, we do not know). The two logs of ACB + VTC evaluate on *test* throughout. This does not say that the models are bad: it says what a difference of one point weighs.
#
# ### People disagree, too
#
# DiDeMo asked four people or more for each query. How often does one of them *hit* another? And how often could a single answer hit them, if it were chosen with all of them in view?

# %%
agreement = summary["agreement"]
curves = {"best possible, ≥": agreement["curves"]["best possible answer"], "best possible, >": agreement["curves, >"]["best possible answer"], "a person, ≥": agreement["curves"]["another annotator"],
          "a person, >": agreement["curves, >"]["another annotator"], "first segment, ≥": agreement["curves"]["first segment"]}
draw_agreement(agreement["pairs"], agreement["axis"], curves)
plt.show()
half = agreement["axis"].index(0.5)
print(f"{agreement['queries']:,} queries; all annotators agree on {agreement['unanimous']:.1f} %; mean IoU of two annotators {agreement['mIoU']['another annotator']:.1f} %")
print("R@1, IoU=0.5:", "  ".join(f"{name} {curve[half]:.1f}" for name, curve in curves.items()))

# %% [markdown]
# Judged by another person, a person gets 85 at IoU=0.5, or 62 if *at least* becomes *more than*. Judged by one annotator drawn at random, no single answer can get more than 96 or 79; where any
# annotator counts, as in the chart of blind answers, the ceiling is 100. No other file here holds the moments of more
# than one person a query, so the ceilings of the other datasets are not known. DiDeMo's segments are coarse and its videos short; elsewhere people may agree more or less.
#
# So, is R@1, IoU=m a good metric? It is easy to understand, and it finds large differences. It hides how long the answer was, which true moments were missed, and on which side of a tie the query fell. **Report it
# with at least two thresholds, the sign, a blind answer, and an interval over videos**, and say how the run was chosen.
#
# ## Your own data
#
# Annotations of your own need no new reader. One JSON object a line, four needed fields, seconds. `python -m vmrlib data validate mine.jsonl` lists all that is wrong or suspicious, with line, field and
# value; below it is the same from Python:

# %%
from vmrlib.data.validate import validate

own_file = folder / "mine.jsonl"
_ = own_file.write_text("""{"qid": 1, "query": "The dog jumps.", "vid": "garden", "duration": 92.4, "relevant_windows": [[12, 17.5], [80, 84]]}
{"qid": 2, "query": "It rains.", "vid": "garden", "duration": 92.4, "relevant_windows": [[9, 4]]}
{"qid": 3, "query": "A gate shuts.", "vid": "garden", "duration": "92.4", "relevant_windows": [[90, 95]]}
""", encoding="utf-8")

# %%
findings, number = validate(own_file)
print(number, "queries")
for finding in findings:
    print(f"{finding.level}, line {finding.line}, field {finding.field}: {finding.message}")

# %% [markdown]
# Once it is clean, `read_jsonl` returns the same `Query` objects as every reader above, and `evaluate` and `analyse` take the file.
#
# ## Summary
#
# * Every dataset writes time in its own way; a reader must clip, count and name what it leaves out, and keep what the published counts include.
# * A blind answer gets about 50 % at IoU=0.3 on Charades-STA and ActivityNet, and an out-of-distribution split can break one such answer and help another (Charades-CD), or lower all (ActivityNet-CD).
# * Which published model is first depends on the metric: among the best three the order changes with the threshold and with mAP, and `>` for `>=` makes a gap of 1.0 a gap of 3.9.
# * One point at R@1, IoU=0.5 on QVHighlights is within the interval over videos, and below what the choice of the best evaluation or of the sign is worth.
# * State the threshold, the sign, a blind baseline, the interval and how the run was chosen; then a number means something.
#
# ## Questions
#
# 1. The region that a window hits is a quadrilateral with straight sides. Why? What does it look like as $m$ goes to 1?
# 2. Moments of ActivityNet's `val_2` are longer than those of `val_1` on the same videos. A model trained on train is tested on both. What do you expect, and what would it say about the model?
# 3. TACoS repeats rows exactly, and the published counts include them. What happens to R@1, to its interval, and to a contrastive loss that takes other queries of the batch as negatives?
# 4. Rounding made UniVTG better under `>=` and worse under `>` at IoU=0.5. Would you round its answers? Is that part of the model?
# 5. The full video gets 59 at IoU=0.3 on Charades-CD ood. Which threshold would you choose to report there, and how do you choose it without looking at the models?
# 6. The four files are single runs. What would you need, to say that one *method* is better than another?
# 7. DiDeMo has four answers a query. Which R@1 would be fair: against the most frequent one, any of them, or all in turn? What would each do to the ceiling?
# 8. 29 % of the queries of QVHighlights val hold a word that train does not. How would you find out whether that costs a model anything?
# 9. Six pairs of models and nine metrics make 54 intervals of 95 %. How many would leave 0 out if all models were equally good? What would you do about it?
# 10. Design a metric that a stretched window cannot fool, and that does not depend on the grid. What does it lose?
#
# ## Further reading
#
# * [Otani et al. 2020](https://arxiv.org/abs/2009.00325): sanity checks and blind answers on the field's datasets, before any of the models above.
# * [Yuan et al. 2021](https://arxiv.org/abs/2101.09028): the changing distributions and the discounted recall, with published models tested on both.
# * [Lei et al. 2021](https://arxiv.org/abs/2107.09609): QVHighlights, with several windows a query and saliency; its evaluator is the one used here.
# * [Hendricks et al. 2017](https://arxiv.org/abs/1708.01641): DiDeMo, and why several annotators were asked.
# * [Regneri et al. 2013](https://aclanthology.org/Q13-1003/): TACoS, from the time before moment retrieval was a task.
