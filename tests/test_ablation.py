"""Ablations: figures come from the hits, what was done is never repeated, results can be checked."""

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from stage_splits import split

from vmrlib import ablate, ablation
from vmrlib.ablation import ResultsError
from vmrlib.data.loaders import MomentDataset, train_vocabulary
from vmrlib.material import letter_vectors


def results_of(**arms):
    """Results on one split of two videos with two queries each; an arm is one string of hits per seed."""
    return {
        "splits": {"test": {"queries_per_video": [2, 2]}},
        "arms": {
            name: {"runs": {str(seed): {"hits": {"test": {"0.5": hits}}} for seed, hits in enumerate(seeds)}}
            for name, seeds in arms.items()
        },
    }


def test_recall_is_the_mean_over_seeds_and_queries():
    found = ablation.recall(results_of(a=["1100", "1110", "1111"]), "a", "test")
    assert (found.mean, found.seeds) == (75.0, 3)
    assert found.deviation == pytest.approx(25.0)
    assert found.error > 0


def test_an_arm_less_itself_is_refused():
    with pytest.raises(ResultsError, match="'a' and itself"):
        ablation.difference(results_of(a=["1100"]), "a", "a", "test")


def test_equal_arms_differ_by_nothing_and_nothing_is_shown():
    found = ablation.difference(results_of(a=["1100"], b=["1100"]), "a", "b", "test")
    assert (found.mean, found.low, found.high, found.shown) == (0.0, 0.0, 0.0, False)
    assert str(found) == "+0.0 [+0.0, +0.0], not shown"


def test_the_interval_of_a_difference_holds_the_noise_of_the_seeds():
    quiet = ablation.difference(results_of(a=["1111", "1111"], b=["0000", "0000"]), "a", "b", "test")
    noisy = ablation.difference(results_of(a=["1111", "0000"], b=["0000", "0000"]), "a", "b", "test")
    assert quiet.shown and (quiet.low, quiet.high) == (100.0, 100.0)
    assert noisy.mean == 50.0 and not noisy.shown  # seeds 0 and 100: nothing is known
    # Student's t of 2 degrees of freedom; the paired difference is the same for every query
    assert noisy.high - noisy.mean == pytest.approx(4.303 * (100 / 2**0.5) / 2**0.5)


def test_an_interaction_is_what_two_changes_do_beyond_their_sum():
    found = results_of(neither=["0000"] * 2, one=["1000"] * 2, other=["0100"] * 2, both=["1111"] * 2)
    together = ablation.interaction(found, "both", "one", "other", "neither", "test")
    assert together.mean == 50.0  # 100 - 25 - 25 + 0
    alone = results_of(neither=["0000"] * 2, one=["1000"] * 2, other=["0100"] * 2, both=["1100"] * 2)
    assert ablation.interaction(alone, "both", "one", "other", "neither", "test").mean == 0.0


def test_an_interaction_holds_the_noise_of_all_four_arms():
    def half(neither):
        found = results_of(neither=neither, one=["0000"] * 2, other=["0000"] * 2, both=["0000"] * 2)
        together = ablation.interaction(found, "both", "one", "other", "neither", "test")
        return together.high - together.mean

    # one arm's seeds at 0 and 100: their mean has a standard error of 50; t of 4 degrees of freedom
    assert half(["1111", "0000"]) == pytest.approx(2.776 * 50)
    assert half(["1111", "1111"]) == 0


def test_one_more_run_lies_further_out_than_the_mean():
    low, high = ablation.next_run(results_of(a=["1100", "1110", "1111"]), "a", "test")
    assert low < 75 - 4.3 * 25 and high > 75 + 4.3 * 25


def test_hits_that_are_not_there_are_named():
    with pytest.raises(ResultsError, match=r"no hits of 'b' on test"):
        ablation.hits(results_of(a=["1"]), "b", "test")


def test_a_file_without_arms_is_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("{}")
    with pytest.raises(ResultsError, match="arms"):
        ablation.read_results(path)


HEAD = {"configuration": {"training": {"learning_rate": 1e-3}}, "splits": {}, "train": {}, "code": "before"}
HEAD |= {"learning_rates": [1e-3, 2e-3], "seeds": [0, 1]}


@pytest.fixture
def tiny(monkeypatch):
    """An experiment of two arms whose trainings are counted, not done."""
    experiment = ablate.Experiment(
        "stage.yaml",
        {"plain": ablate.Arm(), "mean": ablate.Arm({"model.proposals": "mean"})},
        learning_rates=(1e-3, 2e-3),
        seeds=(0, 1),
    )
    trained = []

    def pretend(material, arm):
        config = material.config
        rate, seed = config.training.learning_rate, config.training.seed
        trained.append((config.model.changes.get("proposals"), rate, seed))
        return (rate, seed), {"val": 1000 * rate}

    def judge(model, material, arm, splits):
        rate, seed = model
        assert (rate, seed) == (material.config.training.learning_rate, material.config.training.seed)
        return {split: {"0.3": "1", "0.5": "1", "0.7": "0"} for split in splits}

    monkeypatch.setitem(ablate.EXPERIMENTS, "tiny", experiment)
    monkeypatch.setattr(ablate, "train_arm", pretend)
    monkeypatch.setattr(ablate, "judge", judge)
    monkeypatch.setattr(ablate, "answers", lambda model, material, arm, split: f"{model[1]}.0:4.5 -0.1:2.0")
    monkeypatch.setattr(ablate, "describe", lambda *a: HEAD)
    return trained


def test_val_chooses_the_learning_rate_of_each_arm(tiny, tmp_path):
    results = ablate.ablate("tiny", tmp_path / "r.json")
    assert [arm["learning_rate"] for arm in results["arms"].values()] == [2e-3, 2e-3]
    plain = [(None, 1e-3, 0), (None, 2e-3, 0), (None, 2e-3, 1)]  # the best of the search is seed 0's run
    assert tiny == plain + [("mean", rate, seed) for _, rate, seed in plain]


def test_the_first_seed_keeps_its_answers(tiny, tmp_path):
    results = ablate.ablate("tiny", tmp_path / "r.json")
    assert ablation.answers(results, "mean").tolist() == [[0.0, 4.5], [-0.1, 2.0]]
    del results["arms"]["mean"]["runs"]["0"]["answers"]
    with pytest.raises(ResultsError, match="no answers of 'mean'"):
        ablation.answers(results, "mean")


def test_a_killed_experiment_goes_on_with_the_run_it_was_in(tiny, tmp_path):
    path = tmp_path / "r.json"
    whole = ablate.ablate("tiny", path)
    cut = json.loads(path.read_text())
    del cut["arms"]["mean"]["runs"]["1"]
    path.write_text(json.dumps(cut))
    tiny.clear()
    assert ablate.ablate("tiny", path) == whole
    assert tiny == [("mean", 2e-3, 1)]


def test_a_file_names_the_code_of_all_its_runs(tiny, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    ablate.ablate("tiny", path)
    monkeypatch.setattr(ablate, "describe", lambda *a: HEAD | {"code": "later"})
    assert ablate.ablate("tiny", path)["code"] == "before"  # nothing was run
    cut = json.loads(path.read_text())
    del cut["arms"]["mean"]["runs"]["1"]
    path.write_text(json.dumps(cut))
    assert ablate.ablate("tiny", path)["code"] == "before, later"


def test_results_of_another_configuration_are_not_mixed(tiny, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    ablate.ablate("tiny", path)
    monkeypatch.setattr(ablate, "describe", lambda *a: HEAD | {"configuration": {"steps": 9}})
    with pytest.raises(ValueError, match="another configuration"):
        ablate.ablate("tiny", path)


def test_results_from_before_there_was_a_setting_are_those_of_its_default(tiny, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    ablate.ablate("tiny", path)
    tiny.clear()
    for optimizer, same in (("adamw", True), ("bert_adam", False)):
        training = HEAD["configuration"]["training"] | {"optimizer": optimizer}
        head = HEAD | {"configuration": {"training": training}}
        monkeypatch.setattr(ablate, "describe", lambda *a, head=head: head)
        with nullcontext() if same else pytest.raises(ValueError, match="another configuration"):
            ablate.ablate("tiny", path)
    assert tiny == []


def test_a_search_that_was_killed_trains_its_best_rate_again(tiny, tmp_path):
    path = tmp_path / "r.json"
    ablate.ablate("tiny", path)
    cut = json.loads(path.read_text())
    del cut["arms"]["mean"]["runs"]
    path.write_text(json.dumps(cut))
    tiny.clear()
    ablate.ablate("tiny", path)
    assert tiny == [("mean", 2e-3, 0), ("mean", 2e-3, 1)]


def test_a_search_may_be_widened_later(tiny, tmp_path, monkeypatch):
    path, rates = tmp_path / "r.json", (5e-4, 1e-3, 2e-3, 3e-3)
    ablate.ablate("tiny", path)
    tiny.clear()
    wider = replace(ablate.EXPERIMENTS["tiny"], learning_rates=rates)
    monkeypatch.setitem(ablate.EXPERIMENTS, "tiny", wider)
    head = HEAD | {"code": "later", "learning_rates": list(rates)}
    monkeypatch.setattr(ablate, "describe", lambda *a: head)
    results = ablate.ablate("tiny", path)
    assert tiny == [(name, *run) for name in (None, "mean") for run in ((5e-4, 0), (3e-3, 0), (3e-3, 1))]
    assert results["code"] == "before, later"
    for arm in results["arms"].values():
        assert list(arm["search"]) == [str(rate) for rate in rates] and arm["learning_rate"] == 3e-3
        assert [run["val"] for run in arm["runs"].values()] == [3.0, 3.0]


def test_runs_stay_where_a_wider_search_chooses_as_before(tiny, tmp_path, monkeypatch):
    path, rates = tmp_path / "r.json", (5e-4, 1e-3, 2e-3)
    before = ablate.ablate("tiny", path)["arms"]["mean"]["runs"]
    tiny.clear()
    wider = replace(ablate.EXPERIMENTS["tiny"], learning_rates=rates)
    monkeypatch.setitem(ablate.EXPERIMENTS, "tiny", wider)
    monkeypatch.setattr(ablate, "describe", lambda *a: HEAD | {"learning_rates": list(rates)})
    ablate.ablate("tiny", path)
    mean = json.loads(path.read_text())["arms"]["mean"]
    assert mean["runs"] == before and list(mean["search"]) == [str(rate) for rate in rates]
    assert tiny == [(None, 5e-4, 0), ("mean", 5e-4, 0)]


@pytest.fixture
def same_as(monkeypatch):
    """Makes an experiment whose one arm is another's arm "mean"."""

    def make(changes=None, seeds=(0, 1)) -> None:
        arm = ablate.Arm(changes or {"model.proposals": "mean"}, same_as=("tiny", "mean"))
        other = ablate.Experiment("stage.yaml", {"the same": arm}, (1e-3, 2e-3), seeds)
        monkeypatch.setitem(ablate.EXPERIMENTS, "other", other)

    return make


def test_an_arm_that_was_run_elsewhere_is_taken_over(tiny, same_as, tmp_path):
    ablate.ablate("tiny", tmp_path / "tiny.json")
    tiny.clear()
    same_as()
    results = ablate.ablate("other", tmp_path / "other.json")
    assert results["arms"]["the same"]["runs"]["1"]["val"] == 2.0
    assert results["arms"]["the same"]["from"] == ["tiny.json", "mean"]
    assert tiny == []


def test_of_an_arm_that_was_run_elsewhere_the_seeds_wanted_are_taken(tiny, same_as, tmp_path, monkeypatch):
    ablate.ablate("tiny", tmp_path / "tiny.json")
    same_as(seeds=(0,))
    monkeypatch.setattr(ablate, "describe", lambda *a: HEAD | {"seeds": [0]})
    results = ablate.ablate("other", tmp_path / "other.json")
    assert list(results["arms"]["the same"]["runs"]) == ["0"]


def test_an_arm_that_was_changed_or_is_unfinished_is_not_taken_over(tiny, same_as, tmp_path):
    path = tmp_path / "tiny.json"
    ablate.ablate("tiny", path)
    same_as({"model.proposals": "max"})
    with pytest.raises(ValueError, match=r"tiny.json: 'mean' was run with other changes"):
        ablate.ablate("other", tmp_path / "other.json")
    same_as()
    cut = json.loads(path.read_text())
    del cut["arms"]["mean"]["runs"]["1"]
    path.write_text(json.dumps(cut))
    with pytest.raises(ValueError, match="'mean' has no run of seed 1 yet"):
        ablate.ablate("other", tmp_path / "other.json")


def test_an_arm_of_a_file_must_be_the_one_that_is_asked_for(tiny, same_as, tmp_path):
    ablate.ablate("tiny", tmp_path / "tiny.json")
    same_as()
    ablate.ablate("other", tmp_path / "other.json")
    same_as({"model.proposals": "max"})
    with pytest.raises(ValueError, match="the arm 'the same' was run with other changes"):
        ablate.ablate("other", tmp_path / "other.json")


def test_an_arm_of_another_configuration_is_not_taken_over(tiny, tmp_path, monkeypatch):
    ablate.ablate("tiny", tmp_path / "tiny.json")
    arm = ablate.Arm(same_as=("tiny", "mean"))
    monkeypatch.setitem(ablate.EXPERIMENTS, "other", ablate.Experiment("stage.yaml", {"a": arm}))
    monkeypatch.setattr(ablate, "describe", lambda *a: HEAD | {"configuration": {"steps": 9}})
    with pytest.raises(ValueError, match="another configuration"):
        ablate.ablate("other", tmp_path / "other.json")


class Contrasting(torch.nn.Module):
    """A model whose sentences and moments are the given vectors."""

    def __init__(self, sentences, moments):
        super().__init__()
        self.vectors = torch.tensor(sentences), torch.tensor(moments)

    def compared(self, batch):
        return self.vectors


@pytest.fixture
def three_items():
    """Three items, the first two of the same words."""
    empty = {"video": torch.zeros(2, 1), "words": torch.zeros(1, 1), "duration": 1.0, "annotation": 0}
    more = {
        "moments_cell": (0.0, 1.0),
        "hidden_words": torch.zeros(1).bool(),
        "word_labels": torch.zeros(1).long(),
    }
    return [
        empty | more | {"query_ids": str(i), "segment": i, "sentence": number}
        for i, number in enumerate((0, 0, 1))
    ]


def test_alignment_counts_a_sentence_of_the_same_words_as_right(three_items):
    # the first moment is nearest to the second sentence, whose words are the same; the last to the first
    figures = ablate.alignment(
        Contrasting([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), three_items
    )
    assert figures["top1"] == pytest.approx(66.667, abs=1e-3)


def test_vectors_that_have_all_become_one_have_cosine_1_and_rank_1(three_items):
    figures = ablate.alignment(
        Contrasting([[1.0, 0.0]] * 3, [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), three_items
    )
    assert (figures["sentences_cosine"], figures["sentences_rank"]) == (1.0, 1.0)
    # two along one axis, one along the other: exp of the entropy of (2/3, 1/3)
    assert figures["moments_rank"] == pytest.approx(1.890, abs=1e-3)
    assert figures["moments_cosine"] == pytest.approx(-1 / 3, abs=1e-3)


class Seen:
    """The material of five queries whose videos are all ones."""

    def __init__(self):
        self.vocabulary = train_vocabulary(query.text for query in self.queries("val"))

    def queries(self, name):
        return split("open", name).queries[:5]

    def features(self, name):
        return [{query.video_id: torch.ones(4, 3) for query in self.queries(name)}]

    def dataset(self, name, targets=True):
        words = letter_vectors(self.vocabulary.words[1:-1])
        return MomentDataset(self.queries(name), self.features(name), 4, 2, words, self.vocabulary)


def test_a_text_blind_arm_reads_the_same_word_for_every_query():
    items = list(ablate.dataset(Seen(), "val", ablate.Arm(blind="text")))
    assert {tuple(item["word_labels"].tolist()) for item in items} == {(len(Seen().vocabulary) - 1,)}
    assert all(item["video"].any() for item in items)


def test_a_video_blind_arm_sees_zeros_and_reads():
    items = list(ablate.dataset(Seen(), "val", ablate.Arm(blind="video")))
    assert not any(item["video"].any() for item in items)
    assert len({tuple(item["word_labels"].tolist()) for item in items}) > 1
