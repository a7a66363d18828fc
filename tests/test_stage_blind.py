"""Stage cannot be answered without the sentence, and a small model learns it with the sentence."""

import re

import pytest
import torch
import torch.nn.functional as F
from stage_splits import split
from torch import nn

from vmrlib.data.stage.captions import vocabulary
from vmrlib.features.stage import oracle_features
from vmrlib.metrics import recall_at
from vmrlib.moments import temporal_iou

WORDS = {word: number for number, word in enumerate(vocabulary(), start=1)}  # 0 is padding
LENGTH = 24  # words, and clips of one second
WINDOWS = torch.triu_indices(LENGTH, LENGTH).T  # (W, 2) first and last clip
SECONDS = (WINDOWS + torch.tensor([0, 1])).double()


class Scorer(nn.Module):
    """Looks at all actors and, more closely, at two the sentence picks; scores all windows."""

    def __init__(self, dim: int = 64):
        super().__init__()
        self.words = nn.Embedding(len(WORDS) + 1, dim, padding_idx=0)
        self.order = nn.Parameter(1 + 0.2 * torch.randn(LENGTH, dim))
        self.picks = nn.Linear(dim, 2 * 16)
        self.everybody, self.picked = nn.Linear(128, dim), nn.Linear(16, dim)
        self.place = nn.Parameter(0.3 * torch.randn(LENGTH, dim))
        self.gates = nn.Linear(dim, 2 * dim)
        self.first, self.second = (nn.Conv1d(dim, dim, 5, padding=2) for _ in range(2))
        self.scores = nn.Linear(dim, 3)  # as first clip, as last clip, as one inside
        self.length = nn.Parameter(torch.zeros(LENGTH))

    def forward(self, clips, words):
        """Log probabilities of the windows: (B, T, 128), (B, L) -> (B, W)."""
        sentence = F.dropout((self.words(words) * self.order).sum(dim=1), 0.1, self.training)  # (B, dim)
        picks = self.picks(sentence).view(-1, 2, 16).softmax(dim=-1)
        picked = torch.einsum("bka,btaf->btkf", picks, clips.view(*clips.shape[:2], 16, 8)).flatten(2)
        early, late = self.gates(sentence)[:, None].chunk(2, dim=-1)  # (B, 1, dim)
        around = F.dropout(self.everybody(clips) + self.place, 0.5, self.training)
        hidden = (around + self.picked(picked)) * (1 + early)
        hidden = F.relu(self.first(hidden.transpose(1, 2))).transpose(1, 2) * (1 + late)
        hidden = F.dropout(hidden, 0.1, self.training)
        hidden = F.relu(self.second(hidden.transpose(1, 2))).transpose(1, 2)
        first, last, inside = self.scores(hidden).unbind(dim=-1)  # (B, T)
        total = F.pad(inside.cumsum(dim=1), (1, 0))
        start, end = WINDOWS.unbind(dim=1)
        scores = first[:, start] + last[:, end] + total[:, end + 1] - total[:, start]
        return F.log_softmax(scores + self.length[end - start], dim=1)


def tensors(part):
    """Clips (Q, T, 128), words (Q, L) and the number of the true window (Q,) of every query."""
    features = {script.video_id: oracle_features(script) for script in part.scripts}
    clips = torch.stack([features[query.video_id] for query in part.queries])
    words = torch.zeros(len(part.queries), LENGTH, dtype=torch.long)
    for row, query in zip(words, part.queries, strict=True):
        numbers = [WORDS[word] for word in re.findall(r"[a-z]+", query.text.lower())]
        row[: len(numbers)] = torch.tensor(numbers)
    moments = torch.tensor([query.moments[0] for query in part.queries])
    return 5 * clips, words, temporal_iou(moments.double(), SECONDS).argmax(dim=1)


def trained(clips, words, targets, epochs: int) -> Scorer:
    torch.manual_seed(0)
    model = Scorer()
    steps = epochs * -(-len(clips) // 64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(clips)).split(64):
            loss = F.nll_loss(model(clips[batch], words[batch]), targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def recall(model: Scorer, clips, words, part) -> float:
    """R@1, IoU=0.5 of the window that is most likely to reach it."""
    reached = (temporal_iou(SECONDS, SECONDS) >= 0.5).float()  # (W, W)
    found = SECONDS[(model(clips, words).exp() @ reached).argmax(dim=1)]
    truths = [torch.tensor(query.moments, dtype=torch.float64) for query in part.queries]
    return recall_at(list(found[:, None]), truths, iou=0.5)


@pytest.fixture(scope="module")
def data():
    return tensors(split("open", "train")), tensors(split("open", "test-iid"))


def test_without_the_sentence_a_model_stays_at_30_or_below(data):
    (clips, words, targets), (test_clips, test_words, _) = data
    model = trained(clips, torch.zeros_like(words), targets, epochs=4)
    score = recall(model, test_clips, torch.zeros_like(test_words), split("open", "test-iid"))
    print(f"text-blind: {score:.1f}")
    assert 10 < score <= 30


def test_without_the_video_a_model_stays_at_30_or_below(data):
    (clips, words, targets), (test_clips, test_words, _) = data
    model = trained(torch.zeros_like(clips), words, targets, epochs=4)
    score = recall(model, torch.zeros_like(test_clips), test_words, split("open", "test-iid"))
    print(f"video-blind: {score:.1f}")
    assert score <= 30


def test_with_both_it_clearly_learns(data):
    (clips, words, targets), (test_clips, test_words, _) = data
    model = trained(clips, words, targets, epochs=14)
    score = recall(model, test_clips, test_words, split("open", "test-iid"))
    print(f"with both: {score:.1f}")
    assert score > 45
