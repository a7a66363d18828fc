"""Typical wrong answers, which the checks of the notebooks must refuse.

notebook -> exercise -> name of the mistake -> what stands between the solution markers instead. Every
exercise has at least three, among them `constant` and `vmrlib` (a call of the library's own answer).
"""

WRONG_ANSWERS = {
    "01_features": {
        "clip_centres": {
            "constant": "return torch.tensor([0.5, 1.5, 2.5, 3.5], dtype=torch.float64)",
            "vmrlib": """
from vmrlib.features.decode import clip_times
return torch.as_tensor(clip_times(duration=duration, window=seconds_per_clip, frames_per_clip=1)[0])
""",
            "starts instead of centres": """
count = max(1, round(duration / seconds_per_clip))
return torch.arange(count, dtype=torch.float64) * seconds_per_clip
""",
            "whole clips only": """
count = max(1, int(duration // seconds_per_clip))
return (torch.arange(count, dtype=torch.float64) + 0.5) * seconds_per_clip
""",
            "every started clip": """
count = -int(-duration // seconds_per_clip)
return (torch.arange(count, dtype=torch.float64) + 0.5) * seconds_per_clip
""",
            "a centre on the end counts": """
count = max(1, int(duration / seconds_per_clip + 0.5))
return (torch.arange(count, dtype=torch.float64) + 0.5) * seconds_per_clip
""",
            "a short video has no clip": """
centres = (torch.arange(100, dtype=torch.float64) + 0.5) * seconds_per_clip
return centres[centres < duration]
""",
        },
        "cosine_similarity": {
            "constant": "return torch.tensor([0.6, 0.0, -1.0])",
            "vmrlib": """
from vmrlib.finding import similarity_curve
return similarity_curve(frames, sentence)
""",
            "not divided": "return frames @ sentence",
            "sentence not normalised": "return frames @ sentence / frames.norm(dim=1).clamp(min=1e-8)",
            "zero frames become NaN": "return frames @ sentence / (frames.norm(dim=1) * sentence.norm())",
            "norm of the whole matrix": "return frames @ sentence / (frames.norm() * sentence.norm() + 1e-8)",
            "distance": "return -(frames - sentence).norm(dim=1)",
        },
        "resample": {
            "constant": "return torch.tensor([2.0, 6.0])[:, None]",
            "vmrlib": "from vmrlib.data.clips import resample_mean\nreturn resample_mean(features, m)",
            "the last edge is n": """
n = len(features)
edges = [round(k / m * n) for k in range(m + 1)]
return torch.stack([features[a:max(a + 1, b)].mean(dim=0) for a, b in zip(edges[:-1], edges[1:])])
""",
            "rounded down": """
n = len(features)
edges = [min(int(k / m * n), n - 1) for k in range(m + 1)]
rows = [features[a:b].mean(dim=0) if a < b else features[a] for a, b in zip(edges[:-1], edges[1:])]
return torch.stack(rows)
""",
            "empty stretches become NaN": """
n = len(features)
edges = [min(round(k / m * n), n - 1) for k in range(m + 1)]
return torch.stack([features[a:b].mean(dim=0) for a, b in zip(edges[:-1], edges[1:])])
""",
            "nearest row": """
n = len(features)
return torch.stack([features[min(round(k / m * n), n - 1)] for k in range(m)])
""",
        },
        "sentence_vectors": {
            "constant": "return torch.tensor([[2.0, 1.0]])",
            "vmrlib": """
import vmrlib
return (vectors * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
""",
            "mask ignored": "return vectors.mean(dim=1)",
            "divided by L": "return (vectors * mask[:, :, None]).mean(dim=1)",
            "no words become NaN": "return (vectors * mask[..., None]).sum(dim=1) / mask.sum(dim=1)[:, None]",
            "sum": "return (vectors * mask[:, :, None]).sum(dim=1)",
            "words of the batch": "return (vectors * mask[:, :, None]).sum(1) / mask.sum().clamp(min=1)",
            "the first words": "return torch.stack([v[: m.sum()].mean(0) for v, m in zip(vectors, mask)])",
        },
        "temporal_iou": {
            "constant": "return torch.tensor([[1.0, 1 / 3, 0.0]])",
            "vmrlib": "from vmrlib.moments import temporal_iou as ours\nreturn ours(a, b)",
            "clamp left out": """
shared = torch.minimum(a[:, None, 1], b[None, :, 1]) - torch.maximum(a[:, None, 0], b[None, :, 0])
lengths = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0])[None, :]
return shared / (lengths - shared).clamp(min=1e-9)
""",
            "overlap over the sum of lengths": """
shared = torch.minimum(a[:, None, 1], b[None, :, 1]) - torch.maximum(a[:, None, 0], b[None, :, 0])
lengths = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0])[None, :]
return shared.clamp(min=0) / lengths.clamp(min=1e-9)
""",
            "0 / 0": """
shared = torch.minimum(a[:, None, 1], b[None, :, 1]) - torch.maximum(a[:, None, 0], b[None, :, 0])
shared = shared.clamp(min=0)
lengths = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0])[None, :]
return shared / (lengths - shared)
""",
            "transposed": """
shared = torch.minimum(b[:, None, 1], a[None, :, 1]) - torch.maximum(b[:, None, 0], a[None, :, 0])
shared = shared.clamp(min=0)
lengths = (b[:, 1] - b[:, 0])[:, None] + (a[:, 1] - a[:, 0])[None, :]
return shared / (lengths - shared).clamp(min=1e-9)
""",
        },
    },
    "02_msat_baseline": {
        "joint_attention": {
            "constant": "return torch.tensor([[1.0, 2.0]])",
            "vmrlib": """
from vmrlib.models.attention import JointAttention, word_bias
(q, k, v), (q_other, k_other, v_other) = own, other
bias = word_bias(torch.cat([torch.ones(len(k), dtype=torch.bool), other_mask])[None], q.dtype)
parts = ((q[None], q_other[None]), (k[None], k_other[None]), (v[None], v_other[None]))
return JointAttention(1, 0.0)(*parts, bias)[0][0]
""",
            "two softmaxes, added": """
(q, k, v), (q_other, k_other, v_other) = own, other
here = (q @ k.T / q.shape[1] ** 0.5).softmax(dim=1) @ v
fits = (q_other @ k_other.T / q.shape[1] ** 0.5).masked_fill(~other_mask, -1e6)
return here + fits.softmax(dim=1) @ v_other
""",
            "two softmaxes, halved": """
(q, k, v), (q_other, k_other, v_other) = own, other
here = (q @ k.T / q.shape[1] ** 0.5).softmax(dim=1) @ v
fits = (q_other @ k_other.T / q.shape[1] ** 0.5).masked_fill(~other_mask, -1e6)
return (here + fits.softmax(dim=1) @ v_other) / 2
""",
            "q asks the other keys, too": """
(q, k, v), (q_other, k_other, v_other) = own, other
fits = torch.cat([q @ k.T, q @ k_other.T], dim=1) / q.shape[1] ** 0.5
mask = torch.cat([torch.ones(len(k), dtype=torch.bool), other_mask])
return fits.masked_fill(~mask, -1e6).softmax(dim=1) @ torch.cat([v, v_other])
""",
            "not divided": """
(q, k, v), (q_other, k_other, v_other) = own, other
fits = torch.cat([q @ k.T, q_other @ k_other.T], dim=1)
mask = torch.cat([torch.ones(len(k), dtype=torch.bool), other_mask])
return fits.masked_fill(~mask, -1e6).softmax(dim=1) @ torch.cat([v, v_other])
""",
            "mask ignored": """
(q, k, v), (q_other, k_other, v_other) = own, other
fits = torch.cat([q @ k.T, q_other @ k_other.T], dim=1) / q.shape[1] ** 0.5
return fits.softmax(dim=1) @ torch.cat([v, v_other])
""",
            "mask after the softmax": """
(q, k, v), (q_other, k_other, v_other) = own, other
fits = torch.cat([q @ k.T, q_other @ k_other.T], dim=1) / q.shape[1] ** 0.5
mask = torch.cat([torch.ones(len(k), dtype=torch.bool), other_mask])
return (fits.softmax(dim=1) * mask) @ torch.cat([v, v_other])
""",
        },
        "boundary_target": {
            "constant": "return torch.tensor([0.606531, 1.0, 1.0, 1.0, 0.606531, 0.324652])",
            "vmrlib": """
from vmrlib.models.msat_losses import stage_targets
return stage_targets(torch.tensor([[centre, centre + length]]), points, peak)[0, 0]
""",
            "no fallback": """
t = torch.arange(points, dtype=torch.float64)
bell = torch.exp(-0.5 * ((t - centre) / (0.25 * length)) ** 2)
return bell.masked_fill(bell < 0.1353, 0.0).masked_fill(bell >= peak, 1.0).float()
""",
            "the nearest point is always 1": """
t = torch.arange(points, dtype=torch.float64)
bell = torch.exp(-0.5 * ((t - centre) / (0.25 * length)) ** 2)
target = bell.masked_fill(bell < 0.1353, 0.0).masked_fill(bell >= peak, 1.0)
target[bell.argmax()] = 1.0
return target.float()
""",
            "not cut at the peak": """
t = torch.arange(points, dtype=torch.float64)
bell = torch.exp(-0.5 * ((t - centre) / (0.25 * length)) ** 2)
target = bell.masked_fill(bell < 0.1353, 0.0)
if not (target > 0.4).any():
    target[bell.argmax()] = 1.0
return target.float()
""",
            "not cut at the floor": """
t = torch.arange(points, dtype=torch.float64)
bell = torch.exp(-0.5 * ((t - centre) / (0.25 * length)) ** 2)
target = bell.masked_fill(bell >= peak, 1.0)
if not (target > 0.4).any():
    target[bell.argmax()] = 1.0
return target.float()
""",
            "as wide as the moment": """
t = torch.arange(points, dtype=torch.float64)
bell = torch.exp(-0.5 * ((t - centre) / length) ** 2)
target = bell.masked_fill(bell < 0.1353, 0.0).masked_fill(bell >= peak, 1.0)
if not (target > 0.4).any():
    target[bell.argmax()] = 1.0
return target.float()
""",
            "no half in the exponent": """
t = torch.arange(points, dtype=torch.float64)
bell = torch.exp(-(((t - centre) / (0.25 * length)) ** 2))
target = bell.masked_fill(bell < 0.1353, 0.0).masked_fill(bell >= peak, 1.0)
if not (target > 0.4).any():
    target[bell.argmax()] = 1.0
return target.float()
""",
        },
        "describe_moments": {
            "constant": "return torch.tensor([[10.0, 22.0, 34.0]])",
            "vmrlib": """
import vmrlib
i, j = cells[:, 0], cells[:, 1]
return torch.cat([starts[i], middles[(i + j) // 2], ends[j]], dim=1)
""",
            "rounded up": """
i, j = cells[:, 0], cells[:, 1]
return torch.cat([starts[i], middles[(i + j + 1) // 2], ends[j]], dim=1)
""",
            "start, end, middle": """
i, j = cells[:, 0], cells[:, 1]
return torch.cat([starts[i], ends[j], middles[(i + j) // 2]], dim=1)
""",
            "the middle of the video": """
i, j = cells[:, 0], cells[:, 1]
return torch.cat([starts[i], middles[[len(middles) // 2] * len(i)], ends[j]], dim=1)
""",
            "the mean of start and end": """
i, j = cells[:, 0], cells[:, 1]
return torch.cat([starts[i], (starts[i] + ends[j]) / 2, ends[j]], dim=1)
""",
            "added, not side by side": """
i, j = cells[:, 0], cells[:, 1]
return starts[i] + middles[(i + j) // 2] + ends[j]
""",
        },
        "iou_map": {
            "constant": "return torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])",
            "vmrlib": """
from vmrlib.moments import temporal_iou
i, j = torch.triu_indices(points, points, 1)
result = torch.zeros(points, points)
result[i, j] = temporal_iou(torch.stack([i, j], dim=1).float(), torch.tensor([moment]))[:, 0]
return result
""",
            "starts across": """
start, end = moment
i, j = torch.arange(float(points))[None, :], torch.arange(float(points))[:, None]
shared = (j.clamp(max=end) - i.clamp(min=start)).clamp(min=0)
union = (j - i) + (end - start) - shared
return torch.where(j > i, shared / union.clamp(min=1e-6), 0.0)
""",
            "overlap over the true length": """
start, end = moment
i, j = torch.arange(float(points))[:, None], torch.arange(float(points))[None, :]
shared = (j.clamp(max=end) - i.clamp(min=start)).clamp(min=0)
return torch.where(j > i, shared / max(end - start, 1e-6), 0.0)
""",
            "clamp left out": """
start, end = moment
i, j = torch.arange(float(points))[:, None], torch.arange(float(points))[None, :]
shared = j.clamp(max=end) - i.clamp(min=start)
union = (j - i) + (end - start) - shared
return torch.where(j > i, shared / union.clamp(min=1e-6), 0.0)
""",
            "moment rounded to points": """
start, end = round(moment[0]), round(moment[1])
i, j = torch.arange(float(points))[:, None], torch.arange(float(points))[None, :]
shared = (j.clamp(max=end) - i.clamp(min=start)).clamp(min=0)
union = (j - i) + (end - start) - shared
return torch.where(j > i, shared / union.clamp(min=1e-6), 0.0)
""",
            "below the diagonal, too": """
start, end = moment
i, j = torch.arange(float(points))[:, None], torch.arange(float(points))[None, :]
low, high = torch.minimum(i, j), torch.maximum(i, j)
shared = (high.clamp(max=end) - low.clamp(min=start)).clamp(min=0)
union = (high - low) + (end - start) - shared
return shared / union.clamp(min=1e-6)
""",
        },
        "suppress": {
            "constant": "return [0, 3, 2]",
            "vmrlib": """
from vmrlib.moments import non_maximum_suppression
return non_maximum_suppression(moments, scores, threshold, top).tolist()
""",
            "just sorted": "return scores.argsort(descending=True, stable=True)[:top].tolist()",
            "at the threshold it goes": """
kept = []
for n in scores.argsort(descending=True, stable=True).tolist():
    a, b = moments[n], moments[kept]
    shared = (torch.minimum(a[1], b[:, 1]) - torch.maximum(a[0], b[:, 0])).clamp(min=0)
    if len(kept) < top and not (shared >= threshold * ((a[1] - a[0]) + (b[:, 1] - b[:, 0]) - shared)).any():
        kept.append(n)
return kept
""",
            "a dropped one still drops others": """
order, kept = scores.argsort(descending=True, stable=True).tolist(), []
for place, n in enumerate(order):
    a, b = moments[n], moments[order[:place]]
    shared = (torch.minimum(a[1], b[:, 1]) - torch.maximum(a[0], b[:, 0])).clamp(min=0)
    if len(kept) < top and not (shared > threshold * ((a[1] - a[0]) + (b[:, 1] - b[:, 0]) - shared)).any():
        kept.append(n)
return kept
""",
            "no end": """
kept = []
for n in scores.argsort(descending=True, stable=True).tolist():
    a, b = moments[n], moments[kept]
    shared = (torch.minimum(a[1], b[:, 1]) - torch.maximum(a[0], b[:, 0])).clamp(min=0)
    if not (shared > threshold * ((a[1] - a[0]) + (b[:, 1] - b[:, 0]) - shared)).any():
        kept.append(n)
return kept
""",
            "worst first": """
kept = []
for n in scores.argsort(stable=True).tolist():
    a, b = moments[n], moments[kept]
    shared = (torch.minimum(a[1], b[:, 1]) - torch.maximum(a[0], b[:, 0])).clamp(min=0)
    if len(kept) < top and not (shared > threshold * ((a[1] - a[0]) + (b[:, 1] - b[:, 0]) - shared)).any():
        kept.append(n)
return kept
""",
            "of equals the last": """
kept = []
for n in scores.flip(0).argsort(descending=True, stable=True).tolist():
    n = len(scores) - 1 - n
    a, b = moments[n], moments[kept]
    shared = (torch.minimum(a[1], b[:, 1]) - torch.maximum(a[0], b[:, 0])).clamp(min=0)
    if len(kept) < top and not (shared > threshold * ((a[1] - a[0]) + (b[:, 1] - b[:, 0]) - shared)).any():
        kept.append(n)
return kept
""",
        },
    },
    "03_asymmetric_coattention": {
        "attention_share": {
            "constant": "return torch.tensor([0.375])",
            "vmrlib": """
import vmrlib.models.attention
return vmrlib.models.attention.attention_share(weights, asking, keys)
""",
            "padding counts": "return weights[:, :, keys].sum(dim=2).mean(dim=1)",
            "mean over the keys": """
rows = weights[:, asking]
if rows.shape[1] == 0 or not keys.any():
    return torch.zeros(len(weights))
return rows[:, :, keys].mean(dim=2).mean(dim=1)
""",
            "one number for all heads": """
rows = weights[:, asking]
return rows[:, :, keys].sum(dim=2).mean()[None]
""",
            "NaN where nobody asks": "return weights[:, asking][:, :, keys].sum(dim=2).mean(dim=1)",
            "divided by all tokens": """
rows = weights[:, asking][:, :, keys].sum(dim=2)
return rows.sum(dim=1) / weights.shape[1]
""",
        },
        "ask_video": {
            "constant": "return torch.tensor([[1.0, -1.0, 1.0, -1.0]])",
            "vmrlib": """
from vmrlib.models.acb import ACBConfig, Attention
block = Attention(ACBConfig.stage(dim=4, heads=1, contrast=None))
torch.nn.init.zeros_(block.projections.bias), torch.nn.init.zeros_(block.dense.bias)
block.projections.weight.data = torch.cat([part.T for part in weights[:3]])
block.dense.weight.data = weights[3].T.contiguous()
return block(words[None], points[None])[0][0]
""",
            "no residual": """
to_query, to_key, to_value, out = weights
fits = (words @ to_query) @ (points @ to_key).T / words.shape[1] ** 0.5
mixed = fits.softmax(dim=1) @ (points @ to_value)
return torch.nn.functional.layer_norm(mixed @ out, (words.shape[1],))
""",
            "no norm": """
to_query, to_key, to_value, out = weights
fits = (words @ to_query) @ (points @ to_key).T / words.shape[1] ** 0.5
return fits.softmax(dim=1) @ (points @ to_value) @ out + words
""",
            "norm before the residual": """
to_query, to_key, to_value, out = weights
fits = (words @ to_query) @ (points @ to_key).T / words.shape[1] ** 0.5
mixed = fits.softmax(dim=1) @ (points @ to_value)
return torch.nn.functional.layer_norm(mixed @ out, (words.shape[1],)) + words
""",
            "not divided": """
to_query, to_key, to_value, out = weights
fits = (words @ to_query) @ (points @ to_key).T
mixed = fits.softmax(dim=1) @ (points @ to_value)
return torch.nn.functional.layer_norm(mixed @ out + words, (words.shape[1],))
""",
            "output matrix left out": """
to_query, to_key, to_value, out = weights
fits = (words @ to_query) @ (points @ to_key).T / words.shape[1] ** 0.5
mixed = fits.softmax(dim=1) @ (points @ to_value)
return torch.nn.functional.layer_norm(mixed + words, (words.shape[1],))
""",
            "keys as values": """
to_query, to_key, to_value, out = weights
fits = (words @ to_query) @ (points @ to_key).T / words.shape[1] ** 0.5
mixed = fits.softmax(dim=1) @ (points @ to_key)
return torch.nn.functional.layer_norm(mixed @ out + words, (words.shape[1],))
""",
            "softmax over the words": """
to_query, to_key, to_value, out = weights
fits = (words @ to_query) @ (points @ to_key).T / words.shape[1] ** 0.5
mixed = fits.softmax(dim=0) @ (points @ to_value)
return torch.nn.functional.layer_norm(mixed @ out + words, (words.shape[1],))
""",
        },
        "connect": {
            "constant": "return torch.tensor([[5.0], [7.0]]), torch.tensor([[9.0], [11.0]])",
            "vmrlib": """
import vmrlib.models.acb
to_query, to_key, to_value = weights
both = torch.cat([video, words])
seen = torch.cat([torch.ones(len(video), dtype=torch.bool), word_mask])
fits = (both @ to_query) @ (both @ to_key).T / both.shape[1] ** 0.5
both = fits.masked_fill(~seen, vmrlib.models.attention.PADDED).softmax(dim=1) @ (both @ to_value) + both
return both[: len(video)], both[len(video) :]
""",
            "no mask": """
to_query, to_key, to_value = weights
both = torch.cat([video, words])
fits = (both @ to_query) @ (both @ to_key).T / both.shape[1] ** 0.5
both = fits.softmax(dim=1) @ (both @ to_value) + both
return both[: len(video)], both[len(video) :]
""",
            "mask after the softmax": """
to_query, to_key, to_value = weights
both = torch.cat([video, words])
seen = torch.cat([torch.ones(len(video), dtype=torch.bool), word_mask])
fits = (both @ to_query) @ (both @ to_key).T / both.shape[1] ** 0.5
both = (fits.softmax(dim=1) * seen) @ (both @ to_value) + both
return both[: len(video)], both[len(video) :]
""",
            "mask of the first places": """
to_query, to_key, to_value = weights
both = torch.cat([video, words])
seen = torch.cat([word_mask, torch.ones(len(video), dtype=torch.bool)])
fits = (both @ to_query) @ (both @ to_key).T / both.shape[1] ** 0.5
both = fits.masked_fill(~seen, -1e6).softmax(dim=1) @ (both @ to_value) + both
return both[: len(video)], both[len(video) :]
""",
            "no residual": """
to_query, to_key, to_value = weights
both = torch.cat([video, words])
seen = torch.cat([torch.ones(len(video), dtype=torch.bool), word_mask])
fits = (both @ to_query) @ (both @ to_key).T / both.shape[1] ** 0.5
both = fits.masked_fill(~seen, -1e6).softmax(dim=1) @ (both @ to_value)
return both[: len(video)], both[len(video) :]
""",
            "words and video swapped": """
to_query, to_key, to_value = weights
both = torch.cat([video, words])
seen = torch.cat([torch.ones(len(video), dtype=torch.bool), word_mask])
fits = (both @ to_query) @ (both @ to_key).T / both.shape[1] ** 0.5
both = fits.masked_fill(~seen, -1e6).softmax(dim=1) @ (both @ to_value) + both
return both[len(video) :], both[: len(video)]
""",
            "not divided": """
to_query, to_key, to_value = weights
both = torch.cat([video, words])
seen = torch.cat([torch.ones(len(video), dtype=torch.bool), word_mask])
fits = (both @ to_query) @ (both @ to_key).T
both = fits.masked_fill(~seen, -1e6).softmax(dim=1) @ (both @ to_value) + both
return both[: len(video)], both[len(video) :]
""",
            "each asks the other only": """
to_query, to_key, to_value = weights
def ask(x, y, seen):
    fits = (x @ to_query) @ (y @ to_key).T / x.shape[1] ** 0.5
    return fits.masked_fill(~seen, -1e6).softmax(dim=1) @ (y @ to_value) + x
everything = torch.ones(len(video), dtype=torch.bool)
return ask(video, words, word_mask), ask(words, video, everything)
""",
        },
        "count_encoder": {
            "constant": "return 10",
            "vmrlib": """
from vmrlib.models.acb import ACBConfig, BLOCKS
config = ACBConfig.stage(dim=d, dim_ffn=d, heads=1, ffn=ffn, contrast=None)
return sum(p.numel() for letter in blocks for p in BLOCKS[letter](config).parameters())
""",
            "no biases": """
attention, step = 4 * d * d + 2 * d, 2 * d * d + 2 * d
return sum({"A": 2, "C": 1}[letter] * attention + ffn * step for letter in blocks)
""",
            "no norms": """
attention, step = 4 * (d * d + d), 2 * (d * d + d)
return sum({"A": 2, "C": 1}[letter] * attention + ffn * step for letter in blocks)
""",
            "one attention in every block": """
attention, step = 4 * (d * d + d) + 2 * d, 2 * (d * d + d) + 2 * d
return len(blocks) * (attention + ffn * step)
""",
            "a feed-forward step after each attention": """
attention, step = 4 * (d * d + d) + 2 * d, 2 * (d * d + d) + 2 * d
return sum({"A": 2, "C": 1}[letter] * (attention + ffn * step) for letter in blocks)
""",
            "C counted for both sides": """
attention, step = 4 * (d * d + d) + 2 * d, 2 * (d * d + d) + 2 * d
return sum(2 * attention + ffn * step for letter in blocks)
""",
        },
        "block_flops": {
            "constant": "return 24",
            "vmrlib": """
import vmrlib.models.acb
return vmrlib.models.acb.block_flops(letter, points, words, d)
""",
            "multiplications only": """
def attention(asking, asked):
    return 2 * asking * d * d + 2 * asked * d * d + 2 * asking * asked * d
if letter == "A":
    return attention(words, words) + attention(words, points)
return attention(points + words, points + words)
""",
            "A asks only the video": """
def attention(asking, asked):
    return 2 * (2 * asking * d * d + 2 * asked * d * d + 2 * asking * asked * d)
return attention(words, points) if letter == "A" else attention(points + words, points + words)
""",
            "keys and values of who asks": """
def attention(asking, asked):
    return 2 * (4 * asking * d * d + 2 * asking * asked * d)
if letter == "A":
    return attention(words, words) + attention(words, points)
return attention(points + words, points + words)
""",
            "no mixing": """
def attention(asking, asked):
    return 2 * (2 * asking * d * d + 2 * asked * d * d + asking * asked * d)
if letter == "A":
    return attention(words, words) + attention(words, points)
return attention(points + words, points + words)
""",
            "C of each side alone": """
def attention(asking, asked):
    return 2 * (2 * asking * d * d + 2 * asked * d * d + 2 * asking * asked * d)
if letter == "A":
    return attention(words, words) + attention(words, points)
return attention(points, points) + attention(words, words)
""",
        },
    },
    "A1_real_data": {
        "parse_line": {
            "constant": 'return "AB1CD", 2.0, 9.1, "a person opens a door."',
            "vmrlib": """
from vmrlib.data.datasets.charades_sta import read_durations
head, _, text = line.partition("##")
video, start, end = head.split()
start, end = max(0.0, float(start)), min(float(end), durations[video])
return (video, start, end, text.strip()) if start < end else None
""",
            "not clipped": """
head, _, text = line.partition("##")
video, start, end = head.split()
start, end = float(start), float(end)
return (video, start, end, text.strip()) if start < end else None
""",
            "swapped instead of left out": """
head, _, text = line.partition("##")
video, start, end = head.split()
start, end = sorted((float(start), float(end)))
start, end = max(0.0, start), min(end, durations[video])
return (video, start, end, text.strip()) if start < end else None
""",
            "compared before it is clipped": """
head, _, text = line.partition("##")
video, start, end = head.split()
if float(start) >= float(end):
    return None
return video, max(0.0, float(start)), min(float(end), durations[video]), text.strip()
""",
            "cut at every ##": """
head, text, *rest = line.split("##")
video, start, end = head.split()
start, end = max(0.0, float(start)), min(float(end), durations[video])
return (video, start, end, text.strip()) if start < end else None
""",
            "cut at the first # of the sentence": """
head, _, text = line.partition("##")
video, start, end = head.split()
start, end = max(0.0, float(start)), min(float(end), durations[video])
return (video, start, end, text.split("#")[0].strip()) if start < end else None
""",
            "the line break stays": """
head, _, text = line.partition("##")
video, start, end = head.split()
start, end = max(0.0, float(start)), min(float(end), durations[video])
return (video, start, end, text) if start < end else None
""",
        },
        "consensus": {
            "constant": "return (5.0, 10.0), 0.75",
            "vmrlib": """
from vmrlib.data.datasets.didemo import by_agreement
return by_agreement([tuple(pair) for pair in times])[0], 0.75
""",
            "the last segment is left out": """
choices = [tuple(pair) for pair in times]
first, last = max(choices, key=choices.count)
return (5.0 * first, 5.0 * last), choices.count((first, last)) / len(choices)
""",
            "segments as seconds": """
choices = [tuple(pair) for pair in times]
first, last = max(choices, key=choices.count)
return (float(first), float(last)), choices.count((first, last)) / len(choices)
""",
            "starts and ends by themselves": """
starts, ends = [first for first, _ in times], [last for _, last in times]
first, last = max(starts, key=starts.count), max(ends, key=ends.count)
return (5.0 * first, 5.0 * (last + 1)), times.count([first, last]) / len(times)
""",
            "of equals the last": """
choices = [tuple(pair) for pair in times][::-1]
first, last = max(choices, key=choices.count)
return (5.0 * first, 5.0 * (last + 1)), choices.count((first, last)) / len(choices)
""",
            "of equals the earliest in the video": """
choices = sorted(tuple(pair) for pair in times)
first, last = max(choices, key=choices.count)
return (5.0 * first, 5.0 * (last + 1)), choices.count((first, last)) / len(choices)
""",
            "votes, not their share": """
choices = [tuple(pair) for pair in times]
first, last = max(choices, key=choices.count)
return (5.0 * first, 5.0 * (last + 1)), choices.count((first, last))
""",
        },
        "discounted_recall": {
            "constant": "return 81.0",
            "vmrlib": """
from vmrlib.metrics import discounted_recall_at
return discounted_recall_at(predicted[:, None], truth[:, None], durations, 1, iou)
""",
            "not discounted": """
shared = torch.minimum(predicted, truth)[:, 1] - torch.maximum(predicted, truth)[:, 0]
shared = shared.clamp(min=0)
lengths = (predicted[:, 1] - predicted[:, 0]) + (truth[:, 1] - truth[:, 0])
return 100 * (shared / (lengths - shared) >= iou).double().mean().item()
""",
            "errors added": """
shared = torch.minimum(predicted, truth)[:, 1] - torch.maximum(predicted, truth)[:, 0]
shared = shared.clamp(min=0)
lengths = (predicted[:, 1] - predicted[:, 0]) + (truth[:, 1] - truth[:, 0])
errors = (predicted - truth).abs() / durations[:, None]
return 100 * ((shared / (lengths - shared) >= iou) * (1 - errors.sum(dim=1))).mean().item()
""",
            "errors in shares of the moment": """
shared = torch.minimum(predicted, truth)[:, 1] - torch.maximum(predicted, truth)[:, 0]
shared = shared.clamp(min=0)
lengths = (predicted[:, 1] - predicted[:, 0]) + (truth[:, 1] - truth[:, 0])
errors = (predicted - truth).abs() / (truth[:, 1] - truth[:, 0])[:, None]
return 100 * ((shared / (lengths - shared) >= iou) * (1 - errors).prod(dim=1)).mean().item()
""",
            "more than instead of at least": """
shared = torch.minimum(predicted, truth)[:, 1] - torch.maximum(predicted, truth)[:, 0]
shared = shared.clamp(min=0)
lengths = (predicted[:, 1] - predicted[:, 0]) + (truth[:, 1] - truth[:, 0])
errors = (predicted - truth).abs() / durations[:, None]
return 100 * ((shared / (lengths - shared) > iou) * (1 - errors).prod(dim=1)).mean().item()
""",
            "misses count, too": """
errors = (predicted - truth).abs() / durations[:, None]
return 100 * (1 - errors).prod(dim=1).mean().item()
""",
            "a share, not percent": """
shared = torch.minimum(predicted, truth)[:, 1] - torch.maximum(predicted, truth)[:, 0]
shared = shared.clamp(min=0)
lengths = (predicted[:, 1] - predicted[:, 0]) + (truth[:, 1] - truth[:, 0])
errors = (predicted - truth).abs() / durations[:, None]
return ((shared / (lengths - shared) >= iou) * (1 - errors).prod(dim=1)).mean().item()
""",
        },
        "average_precision": {
            "constant": "return 5 / 6",
            "vmrlib": """
import vmrlib.metrics.qvhighlights as theirs
hits = theirs._greedy_matches(overlap[None].double().numpy(), torch.tensor([iou]).numpy())
return float(theirs._interpolated_area(hits, torch.tensor([overlap.shape[1]]).numpy())[0, 0])
""",
            "a moment is hit again and again": """
hits = [bool(row.max() >= iou) for row in overlap]
precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
best = [max(precision[n:]) for n in range(len(hits)) if hits[n]]
return sum(best) / overlap.shape[1]
""",
            "not interpolated": """
free, hits = overlap.clone(), []
for row in free:
    best = row.argmax()
    hits.append(bool(row[best] >= iou))
    if hits[-1]:
        free[:, best] = -1
precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits)) if hits[n]]
return sum(precision) / overlap.shape[1]
""",
            "divided by the hits": """
free, hits = overlap.clone(), []
for row in free:
    best = row.argmax()
    hits.append(bool(row[best] >= iou))
    if hits[-1]:
        free[:, best] = -1
precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
best = [max(precision[n:]) for n in range(len(hits)) if hits[n]]
return sum(best) / max(sum(hits), 1)
""",
            "the first moment that fits": """
free, hits = overlap.clone(), []
for row in free:
    fits = (row >= iou).nonzero()[:, 0].tolist()
    hits.append(bool(fits))
    if fits:
        free[:, fits[0]] = -1
precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
best = [max(precision[n:]) for n in range(len(hits)) if hits[n]]
return sum(best) / overlap.shape[1]
""",
            "more than instead of at least": """
free, hits = overlap.clone(), []
for row in free:
    best = row.argmax()
    hits.append(bool(row[best] > iou))
    if hits[-1]:
        free[:, best] = -1
precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
best = [max(precision[n:]) for n in range(len(hits)) if hits[n]]
return sum(best) / overlap.shape[1]
""",
            "recall": """
found = (overlap >= iou).any(dim=0) if len(overlap) else torch.zeros(overlap.shape[1])
return float(found.double().mean())
""",
        },
        "resampled_means": {
            "constant": "return torch.tensor([0.75])",
            "vmrlib": """
from vmrlib.metrics import bootstrap_intervals
total = torch.stack([hits[video == v].sum() for v in range(int(video.max()) + 1)])
size = torch.stack([(video == v).sum() for v in range(int(video.max()) + 1)])
return total[draws].sum(dim=1) / size[draws].sum(dim=1)
""",
            "queries are drawn": "return hits[draws].mean(dim=1)",
            "every video counts the same": """
number = int(video.max()) + 1
means = torch.stack([hits[video == v].mean() for v in range(number)])
return means[draws].mean(dim=1)
""",
            "divided by all queries": """
number = int(video.max()) + 1
total = torch.stack([hits[video == v].sum() for v in range(number)])
return total[draws].sum(dim=1) / len(hits)
""",
            "a video drawn twice counts once": """
rows = []
for draw in draws:
    chosen = torch.isin(video, draw)
    rows.append(hits[chosen].mean())
return torch.stack(rows)
""",
            "the mean of everything": "return hits.mean().expand(len(draws))",
        },
    },
    "04_video_text_contrastive": {
        "info_nce": {
            "constant": "return torch.tensor(0.313262)",
            "vmrlib": """
from vmrlib.models.vtc import contrast_loss
logits = F.normalize(sentences, dim=1) @ F.normalize(moments, dim=1).T / temperature
sides = {"video": logits.T, "words": logits}
targets = {f"contrast_{side}_targets": torch.eye(len(logits)) for side in sides}
return contrast_loss({f"contrast_{side}_logits": value for side, value in sides.items()} | targets)
""",
            "one direction": """
logits = F.normalize(sentences, dim=1) @ F.normalize(moments, dim=1).T / temperature
return F.cross_entropy(logits, torch.arange(len(logits)))
""",
            "not normalised": """
logits = sentences @ moments.T / temperature
own = torch.arange(len(logits))
return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
""",
            "times the temperature": """
logits = F.normalize(sentences, dim=1) @ F.normalize(moments, dim=1).T * temperature
own = torch.arange(len(logits))
return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
""",
            "summed directions": """
logits = F.normalize(sentences, dim=1) @ F.normalize(moments, dim=1).T / temperature
own = torch.arange(len(logits))
return F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
""",
            "without the right pair below the line": """
logits = F.normalize(sentences, dim=1) @ F.normalize(moments, dim=1).T / temperature
others = logits.masked_fill(torch.eye(len(logits)).bool(), -1e6)
return (2 * -logits.diagonal() + others.logsumexp(dim=1) + others.logsumexp(dim=0)).mean() / 2
""",
        },
        "pool_moments": {
            "constant": "return torch.tensor([[6.0]])",
            "vmrlib": """
from vmrlib.models.vtc import VTC, VTCConfig
weights = VTC(1, VTCConfig(1.0, queue_size=0)).point_weights(moments_cell, points.shape[1])
return (weights[:, None] @ points)[:, 0]
""",
            "rounded down": """
t = torch.arange(points.shape[1])
first, last = moments_cell.floor().unbind(dim=1)
inside = (t >= first[:, None]) & (t < last[:, None])
return (inside[:, :, None] * points).sum(dim=1)
""",
            "the end belongs to it": """
t = torch.arange(points.shape[1])
first, last = moments_cell.ceil().unbind(dim=1)
inside = (t >= first[:, None]) & (t <= last[:, None])
return (inside[:, :, None] * points).sum(dim=1)
""",
            "mean": """
t = torch.arange(points.shape[1])
first, last = moments_cell.ceil().unbind(dim=1)
inside = (t >= first[:, None]) & (t < last[:, None])
return (inside[:, :, None] * points).sum(dim=1) / inside.sum(dim=1, keepdim=True).clamp(min=1)
""",
            "at least one point": """
t = torch.arange(points.shape[1])
first, last = moments_cell.ceil().unbind(dim=1)
last = torch.maximum(last, first + 1)
inside = (t >= first[:, None]) & (t < last[:, None])
return (inside[:, :, None] * points).sum(dim=1)
""",
            "the slice of the first sample": """
first, last = moments_cell[0].ceil().long().tolist()
return points[:, first:last].sum(dim=1)
""",
        },
        "enqueue": {
            "constant": "return torch.tensor([[1.0], [2.0], [0.0], [0.0]]), 2",
            "vmrlib": """
from vmrlib.models.vtc import VTC, VTCConfig
ring = VTC(1, VTCConfig(weight=1.0, queue_size=len(queue)))
ring.queue_words, ring.place = queue.clone(), torch.tensor(place)
ring.waiting = [(keys, keys, torch.zeros(len(keys), dtype=torch.long))]
ring.enqueue()
return ring.queue_words, int(ring.place)
""",
            "the pointer stays": """
size = len(queue)
kept, queue = keys[-size:], queue.clone()
queue[(place + torch.arange(len(kept))) % size] = kept
return queue, place
""",
            "the pointer runs on": """
size = len(queue)
kept, queue = keys[-size:], queue.clone()
queue[(place + torch.arange(len(kept))) % size] = kept
return queue, place + len(kept)
""",
            "the oldest fall out in front": """
size = len(queue)
return torch.cat([queue, keys])[-size:], (place + len(keys[-size:])) % size
""",
            "the first keys stay": """
size = len(queue)
kept, queue = keys[:size], queue.clone()
queue[(place + torch.arange(len(kept))) % size] = kept
return queue, (place + len(kept)) % size
""",
            "written into the given queue": """
size = len(queue)
kept = keys[-size:]
queue[(place + torch.arange(len(kept))) % size] = kept
return queue, (place + len(kept)) % size
""",
            "does not wrap": """
queue = queue.clone()
room = keys[: len(queue) - place]
queue[place : place + len(room)] = room
return queue, (place + len(keys)) % len(queue)
""",
        },
        "lagging": {
            "constant": "return torch.tensor([0.0, 0.5, 0.75, 0.875])",
            "vmrlib": """
import vmrlib.models.vtc
slow = [fast[0]]
for weights in fast[1:]:
    slow.append(torch.lerp(slow[-1], weights, 1 - momentum))
return torch.stack(slow)
""",
            "momentum of the new": """
slow = [fast[0]]
for weights in fast[1:]:
    slow.append((1 - momentum) * slow[-1] + momentum * weights)
return torch.stack(slow)
""",
            "starts at zero": """
slow = [torch.zeros_like(fast[0])]
for weights in fast:
    slow.append(momentum * slow[-1] + (1 - momentum) * weights)
return torch.stack(slow[1:])
""",
            "of the step before": """
slow = [fast[0]]
for weights in fast[:-1]:
    slow.append(momentum * slow[-1] + (1 - momentum) * weights)
return torch.stack(slow)
""",
            "mean of all so far": """
return torch.stack([fast[: k + 1].mean(dim=0) for k in range(len(fast))])
""",
            "of the last two": """
slow = [fast[0]]
for before, weights in zip(fast[:-1], fast[1:]):
    slow.append(momentum * before + (1 - momentum) * weights)
return torch.stack(slow)
""",
        },
        "soft_targets": {
            "constant": "return torch.tensor([[0.75, 0.25]])",
            "vmrlib": """
import vmrlib.models.vtc
right = (ids[:, None] == key_ids).float()
return alpha * opinion.softmax(dim=1) + (1 - alpha) * right / right.sum(dim=1, keepdim=True)
""",
            "copies do not share": """
right = (ids[:, None] == key_ids).float()
return alpha * opinion.softmax(dim=1) + (1 - alpha) * right
""",
            "alpha of the labels": """
right = (ids[:, None] == key_ids).float()
hard = right / right.sum(dim=1, keepdim=True)
return (1 - alpha) * opinion.softmax(dim=1) + alpha * hard
""",
            "the opinion is no softmax": """
right = (ids[:, None] == key_ids).float()
return alpha * opinion + (1 - alpha) * right / right.sum(dim=1, keepdim=True)
""",
            "softmax over the samples": """
right = (ids[:, None] == key_ids).float()
return alpha * opinion.softmax(dim=0) + (1 - alpha) * right / right.sum(dim=1, keepdim=True)
""",
            "the diagonal is right": """
hard = torch.eye(len(ids), len(key_ids))
return alpha * opinion.softmax(dim=1) + (1 - alpha) * hard
""",
        },
    },
}
