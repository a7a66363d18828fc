"""Published weights in MMN: those of DistilBERT, with its tokenizer, and those of the authors."""

from dataclasses import replace

import pytest
import torch
from toy_mmn import SMALL

from vmrlib.models.mmn import MMN
from vmrlib.models.mmn_config import MMNConfig
from vmrlib.models.official import from_official
from vmrlib.models.official_mmn import mmn_names


@pytest.fixture
def published(tmp_path) -> MMNConfig:
    """A configuration whose DistilBERT is a folder with small weights and a tokenizer of few words."""
    from transformers import BertTokenizer, DistilBertConfig, DistilBertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "star", "jumps"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"dim": 8, "hidden_dim": 8, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 6}
    torch.manual_seed(1)
    DistilBertModel(DistilBertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path)
    return replace(SMALL, pretrained=str(tmp_path), tokens=len(words), longest=6)


def test_a_published_distilbert_reads_sentences_with_its_own_tokenizer(published):
    torch.manual_seed(0)
    model = published.build()
    before = model.text.bert.embeddings.word_embeddings.weight.clone()
    model.load_pretrained()
    assert not torch.equal(model.text.bert.embeddings.word_embeddings.weight, before)
    model.eval()
    states, mask = model.text.states({"texts": ["A star jumps", "star"]})
    assert mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]  # with [CLS] and [SEP]
    together, _ = model.text.pool(states, mask)
    alone, _ = model.text({"texts": ["star"]})
    torch.testing.assert_close(alone[0], together[1])


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("longest", 40, 6), ("text_layers", 2, 1), ("text_heads", 4, 2), ("tokens", 9, 8), ("dim_text", 16, 8)],
)
def test_a_size_unlike_the_published_one_is_named(published, field, value, expected):
    model = replace(published, **{field: value}).build()
    with pytest.raises(ValueError, match=f"^{field}: {value}, but .* was published with {expected}$"):
        model.load_pretrained()


def released_names(config):
    """A state dict under the authors' names: each tensor holds its own number."""
    sizes = MMN(config).state_dict()
    return {
        parts[0]: torch.full_like(sizes[ours], n) for n, (ours, parts) in enumerate(mmn_names(config).items())
    }


def test_released_weights_are_all_taken_and_what_is_missing_is_named(published):
    state = released_names(published)
    state["featpool.conv.weight"] = state["featpool.conv.weight"][..., None]
    model = from_official("mmn", state, published)
    assert model.loading == ((), (), ())
    for ours, parts in mmn_names(published).items():
        value = model.state_dict()[ours]
        assert torch.equal(value, state[parts[0]].reshape(value.shape)), ours
    old = state | {"text_encoder.bert.embeddings.position_ids": torch.arange(6)[None]}
    assert from_official("mmn", old, published).loading.dead == ("text_encoder.bert.embeddings.position_ids",)
    with pytest.raises(ValueError, match=r"mmn: not used foo\.position_ids"):
        from_official("mmn", state | {"foo.position_ids": torch.arange(6)[None]}, published)
    del state["text_encoder.fc_out1.bias"]
    with pytest.raises(ValueError, match=r"mmn: missing text_encoder\.fc_out1\.bias"):
        from_official("mmn", state, published)
    assert from_official("mmn", state, published, partial=True).loading.missing == (
        "text_encoder.fc_out1.bias",
    )
