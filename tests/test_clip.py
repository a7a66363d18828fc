"""CLIP: its tokens, its features, its files."""

import json

import pytest
import torch
from transformers import CLIPModel

from vmrlib.models.clip import BytePairTokenizer, Clip, WeightsError, WordTokenizer

WORDS = ["a", "red", "circle", "left", "of", "the", "blue", "star"]


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return Clip.untrained_stage(WORDS).eval()


def noise(count, height=64, width=64):
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


def test_words_become_ids_between_start_and_end():
    tokenizer = WordTokenizer(["red", "circle"])
    assert len(tokenizer) == 6
    assert tokenizer.encode("Red CIRCLE, moves.", 24) == [2, 3, 4, 1, 5]


def test_a_long_text_loses_words_and_never_its_end():
    assert WordTokenizer(["red", "circle"]).encode("red circle red circle", 4) == [2, 3, 4, 5]


def test_a_vocabulary_holds_a_word_once():
    with pytest.raises(WeightsError, match="occurs twice"):
        WordTokenizer(["red", "red"])


def test_tokens_are_padded_with_zero(clip):
    assert clip.tokenize(["a star", "a"]).tolist() == [[2, 3, 10, 11], [2, 3, 11, 0]]
    assert clip.tokenize(["a"], length=5).tolist() == [[2, 3, 11, 0, 0]]
    with pytest.raises(ValueError, match=r"length 25 is not within 2..24"):
        clip.tokenize(["a"], length=25)


def test_the_tiny_model_has_the_announced_size(clip):
    assert (clip.size, clip.dim, clip.context) == (64, 96, 24)
    assert 500_000 < sum(parameter.numel() for parameter in clip.parameters()) < 600_000


def test_features_have_one_row_per_frame_patch_and_word(clip):
    with torch.no_grad():
        images, texts = clip.encode_frames(noise(2, 70, 90)), clip.encode_sentences(["a red star", "a"])
    assert images.frame.shape == (2, 96) and images.patch.shape == (2, 16, 96)
    assert texts.sentence.shape == (2, 96) and texts.word.shape == (2, 5, 96)
    assert texts.mask.tolist() == [[True] * 5, [True, True, True, False, False]]
    torch.testing.assert_close(texts.sentence, texts.word[[0, 1], [4, 2]])


def test_padding_does_not_change_words(clip):
    with torch.no_grad():
        short, long = clip.encode_sentences(["a red star"]), clip.encode_sentences(["a red star"], length=20)
    torch.testing.assert_close(long.sentence, short.sentence)
    torch.testing.assert_close(long.word[:, :5], short.word)


def test_a_word_does_not_see_the_words_after_it(clip):
    with torch.no_grad():
        words = clip.encode_sentences(["a red star", "a red circle"]).word
    torch.testing.assert_close(words[0, :3], words[1, :3])
    assert (words[0, 3] - words[1, 3]).abs().max() > 1e-3


def test_patches_follow_the_picture_row_by_row(clip):
    """Without attention a change in one patch of the picture changes that token alone."""
    tower = clip.model.vision_model
    embeddings = [
        tower.embeddings(clip.preprocess(frames)) for frames in _two_that_differ_in_patch(row=1, column=2)
    ]
    changed = (embeddings[0] - embeddings[1]).abs().amax(dim=-1)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == [1 + 1 * 4 + 2]


def _two_that_differ_in_patch(row, column):
    one = noise(1)
    other = one.clone()
    other[0, row * 16 : (row + 1) * 16, column * 16 : (column + 1) * 16] = 0
    return one, other


def test_logits_are_scaled_cosines(clip):
    with torch.no_grad():
        out = clip(clip.preprocess(noise(3)), clip.tokenize(["a star", "the blue circle"]))
    cosines = torch.cosine_similarity(out["frame"][:, None], out["sentence"][None], dim=-1)
    torch.testing.assert_close(out["logits"], cosines * clip.logit_scale)
    assert out["logits"].shape == (3, 2)


def test_every_parameter_learns():
    torch.manual_seed(0)
    clip = Clip.untrained_stage(WORDS)
    logits = clip(clip.preprocess(noise(4)), clip.tokenize(["a", "red", "circle", "left of"]))["logits"]
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    without = [name for name, parameter in clip.named_parameters() if parameter.grad is None]
    assert not without


def test_a_saved_model_is_the_same_in_half_precision(clip, tmp_path):
    clip.save(tmp_path)
    again = Clip.load(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "vocabulary.json",
    }
    assert (tmp_path / "model.safetensors").stat().st_size < 1_200_000
    for name, value in clip.state_dict().items():
        assert torch.equal(again.state_dict()[name], value.half().float()), name
    assert again.tokenizer.words == tuple(WORDS) and not again.training
    again.save(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "vocabulary.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_loading_does_not_disturb_the_dice(clip, tmp_path):
    clip.save(tmp_path)
    state = torch.random.get_rng_state()
    Clip.load(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_transformers_reads_what_we_save(clip, tmp_path):
    clip.save(tmp_path)
    theirs = CLIPModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ours, pixels = Clip.load(tmp_path), clip.preprocess(noise(2))
    ids = clip.tokenize(["a red star", "the blue circle"])
    with torch.no_grad():
        out = theirs(input_ids=ids, pixel_values=pixels)
        torch.testing.assert_close(out.logits_per_image, ours(pixels, ids)["logits"])


def test_a_folder_of_transformers_loads_without_a_tokenizer(clip, tmp_path):
    clip.model.save_pretrained(tmp_path)
    loaded = Clip.load(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_frames(noise(1)).frame, clip.encode_frames(noise(1)).frame)
    with pytest.raises(WeightsError, match="has no tokenizer"):
        loaded.tokenize(["a"])


def test_damaged_folders_are_one_clear_line(clip, tmp_path):
    clip.save(tmp_path)
    (tmp_path / "vocabulary.json").write_text(json.dumps(["red"]))
    with pytest.raises(WeightsError, match=r"vocabulary.json: 5 tokens, the configuration has 12"):
        Clip.load(tmp_path)
    (tmp_path / "vocabulary.json").write_text("[")
    with pytest.raises(WeightsError, match=r"vocabulary.json: not a JSON file"):
        Clip.load(tmp_path)
    (tmp_path / "vocabulary.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"vocabulary.json: holds a dict, expected a list"):
        Clip.load(tmp_path)
    clip.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        Clip.load(tmp_path)
    Clip.untrained_stage(WORDS).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["vision_config"]["patch_size"] = 32
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"do not fit the configuration \(size mismatch[^\n]*$"):
        Clip.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model.safetensors: missing"):
        Clip.load(tmp_path)


def test_unknown_and_missing_names_of_weights_are_named():
    with pytest.raises(WeightsError, match=r"unknown key visual.extra"):
        Clip.from_openai({"visual.extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"'visual.conv1.weight' is missing"):
        Clip.from_openai({"logit_scale": torch.zeros(())})


def test_byte_pairs_are_those_of_the_published_model(mirror):
    merges = mirror / "mirror" / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz"
    tokenizer = BytePairTokenizer.from_merges(merges)
    assert len(tokenizer.tokenizer) == 49408
    assert tokenizer.encode("A photo of a cat", 77) == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer.encode("a photo of a cat", 4) == [49406, 320, 1125, 49407]
