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
}
