"""Sentences for MMN: DistilBERT (Sanh et al. 2019), the mean of its states, and one vector for each branch.

The network is transformers' `DistilBertModel`. It reads sentences through its own tokenizer and table of
tokens (`pretrained`, as published), or word vectors through a linear layer that takes the table's place
(Stage, and data without a download); the rest is the same.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from vmrlib.models.mmn_config import MMNConfig

SIZES = {  # of DistilBERT: our names, and those of transformers
    "tokens": "vocab_size",
    "longest": "max_position_embeddings",
    "text_layers": "n_layers",
    "text_heads": "n_heads",
    "dim_text": "dim",
    "dim_text_ffn": "hidden_dim",
}


class SentenceEncoder(nn.Module):
    """Both vectors of a sentence: one for the contrast, one for the IoU."""

    def __init__(self, config: "MMNConfig"):
        super().__init__()
        # Only a model that is built needs transformers, whose import takes seconds.
        from transformers import DistilBertConfig, DistilBertModel

        self.config = config
        sizes = {theirs: getattr(config, ours) for ours, theirs in SIZES.items()}
        if not config.pretrained:
            sizes["vocab_size"] = 1
        dropouts = {"dropout": config.dropout, "attention_dropout": config.dropout}
        self.bert = DistilBertModel(DistilBertConfig(**sizes, **dropouts))
        if not config.pretrained:
            self.bert.embeddings.word_embeddings = nn.Linear(config.dim_words, config.dim_text)
        self.norm = nn.LayerNorm(config.dim_text)
        self.contrast = nn.Linear(config.dim_text, config.dim_joint)
        self.iou = nn.Linear(config.dim_text, config.dim_joint)
        self._tokenizer = None

    def load_pretrained(self) -> None:
        """Gives DistilBERT its published weights, downloaded where `pretrained` is no folder.

        Without `pretrained` there are none, and nothing happens. Raises ValueError that names the field of
        the configuration whose size is not the published one.
        """
        if self.config.pretrained:
            from transformers import DistilBertModel

            published = DistilBertModel.from_pretrained(self.config.pretrained)
            for ours, theirs in SIZES.items():
                found, expected = getattr(self.config, ours), getattr(published.config, theirs)
                if found != expected:
                    raise ValueError(
                        f"{ours}: {found}, but {self.config.pretrained} was published with {expected}"
                    )
            self.bert.load_state_dict(published.state_dict())

    def forward(self, batch: Mapping) -> tuple[Float[Tensor, "S J"], Float[Tensor, "S J"]]:
        """For contrast and IoU. DistilBERT does not learn in the first `config.frozen_epochs` epochs."""
        frozen = self.training and batch.get("epoch", 0) < self.config.frozen_epochs
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            states, mask = self.states(batch)
        return self.pool(states, mask)

    def states(self, batch: Mapping) -> tuple[Float[Tensor, "S L d"], Bool[Tensor, "S L"]]:
        """Last states of the words or tokens, and where there are any.

        A tokenizer cuts off tokens beyond `config.longest`; more words raise ValueError, and so does a
        sentence without one.
        """
        if self.config.pretrained:
            tokens = self.tokenizer(
                batch["texts"],
                padding=True,
                truncation=True,
                max_length=self.config.longest,
                return_tensors="pt",
            ).to(self.norm.weight.device)
            mask = tokens["attention_mask"]
            states = self.bert(input_ids=tokens["input_ids"], attention_mask=mask)
        else:
            mask = batch["word_mask"]
            if mask.shape[1] > self.config.longest:
                raise ValueError(f"a query of {mask.shape[1]} words, the model reads {self.config.longest}")
            if not mask.any(dim=1).all():
                empty = (~mask.any(dim=1)).nonzero()[:, 0].tolist()
                raise ValueError(f"word_mask: the sentences {empty} have no word")
            vectors = self.config.words_scale * batch["words"]
            vectors = self.bert.embeddings.word_embeddings(vectors)
            states = self.bert(inputs_embeds=vectors, attention_mask=mask.long())
        return states.last_hidden_state, mask.bool()

    def pool(
        self, states: Float[Tensor, "S L d"], mask: Bool[Tensor, "S L"]
    ) -> tuple[Float[Tensor, "S J"], Float[Tensor, "S J"]]:
        """For contrast and IoU, from the mean of all states, those of [CLS] and [SEP] included."""
        mean = (states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        mean = self.norm(mean)
        return self.contrast(mean), self.iou(mean)

    @property
    def tokenizer(self):
        """The tokenizer of `config.pretrained`, loaded when a sentence is read for the first time."""
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = AutoTokenizer.from_pretrained(self.config.pretrained)
        return self._tokenizer
