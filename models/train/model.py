"""The model: the Llama architecture as llama.cpp runs it, with the matrices of all layers stacked in one parameter per kind."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int = 4096
    width: int = 256
    layers: int = 8
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 768
    context: int = 2048
    theta: float = 10000.0
    eps: float = 1e-5

    @property
    def head(self):
        return self.width // self.heads

    def dict(self):
        return asdict(self)


def rotation(config, device):
    """Cosine and sine for every position and pair, as [context, head / 2]."""
    freq = config.theta ** (-torch.arange(0, config.head, 2, device=device, dtype=torch.float32) / config.head)
    angle = torch.outer(torch.arange(config.context, device=device, dtype=torch.float32), freq)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """RoPE on pairs of neighbours, llama.cpp's convention for this architecture. x is [batch, heads, time, head]."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


class Llama(nn.Module):
    """Stacked parameters: each matrix is [layers, out, in]."""

    MATRICES = ("wq", "wk", "wv", "wo", "gate", "up", "down")

    def __init__(self, config):
        super().__init__()
        c, self.config = config, config
        kv = c.kv_heads * c.head

        def matrix(rows, columns, scale=1.0):
            return nn.Parameter(torch.randn(c.layers, rows, columns) * scale * columns ** -0.5)

        self.embedding = nn.Parameter(torch.randn(c.vocab, c.width) * 0.02)
        self.wq, self.wk, self.wv = matrix(c.width, c.width), matrix(kv, c.width), matrix(kv, c.width)
        self.wo = matrix(c.width, c.width, 0.1)
        self.gate, self.up = matrix(c.ffn, c.width), matrix(c.ffn, c.width)
        self.down = matrix(c.width, c.ffn, 0.1)
        self.attn_norm, self.ffn_norm = nn.Parameter(torch.ones(c.layers, c.width)), nn.Parameter(torch.ones(c.layers, c.width))
        self.norm = nn.Parameter(torch.ones(c.width))

    def parameters_count(self):
        return sum(p.numel() for p in self.parameters())

    def forward(self, tokens, attend, cos, sin):
        """Hidden states after the last norm. `attend(layer, q, k, v)` is the attention; cos and sin are those of the positions."""
        c = self.config
        batch, time = tokens.shape
        norm = lambda x, w: F.rms_norm(x.float(), (c.width,), eps=c.eps) * w
        x = F.embedding(tokens, self.embedding)
        layers = zip(*(getattr(self, name).unbind(0) for name in self.MATRICES + ("attn_norm", "ffn_norm")))
        for layer, (wq, wk, wv, wo, gate, up, down, attn_norm, ffn_norm) in enumerate(layers):
            h = norm(x, attn_norm)
            q = F.linear(h, wq).view(batch, time, c.heads, c.head).transpose(1, 2)
            k = F.linear(h, wk).view(batch, time, c.kv_heads, c.head).transpose(1, 2)
            v = F.linear(h, wv).view(batch, time, c.kv_heads, c.head).transpose(1, 2)
            h = attend(layer, rotate(q, cos, sin), rotate(k, cos, sin), v)
            x = x + F.linear(h.transpose(1, 2).reshape(batch, time, -1), wo)
            h = norm(x, ffn_norm)
            x = x + F.linear(F.silu(F.linear(h, gate)) * F.linear(h, up), down)
        return norm(x, self.norm)

    def logits(self, hidden):
        return F.linear(hidden, self.embedding)

    @torch.inference_mode()
    def generate(self, prompts, stops, limit=160, temperature=0.0, batch=32):
        """Continue each prompt (token ids) until a stop token. Greedy at temperature 0. Returns the new ids without the stop."""
        out = [None] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for at in range(0, len(order), batch):
            chosen = order[at:at + batch]
            for i, ids in zip(chosen, self._generate([prompts[i] for i in chosen], stops, limit, temperature)):
                out[i] = ids
        return out

    def _generate(self, prompts, stops, limit, temperature):
        c, device, n = self.config, self.embedding.device, len(prompts)
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        width = int(lengths.max())
        size = min(c.context, width + limit)
        tokens = torch.zeros(n, width, dtype=torch.long, device=device)
        for row, p in enumerate(prompts):
            tokens[row, :len(p)] = torch.tensor(p, device=device)
        cos, sin = rotation(c, device)
        keys = torch.zeros(c.layers, n, c.kv_heads, size, c.head, device=device)
        values = torch.zeros_like(keys)

        def prefill(layer, q, k, v):
            keys[layer, :, :, :width], values[layer, :, :, :width] = k, v
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

        hidden = self(tokens, prefill, cos[:width], sin[:width])
        hidden = hidden[torch.arange(n, device=device), lengths - 1]
        out, done, rows = [[] for _ in prompts], [False] * n, torch.arange(n, device=device)
        position = lengths.clone()
        for _ in range(limit):
            logits = self.logits(hidden).float()
            chosen = logits.argmax(-1) if temperature == 0 else torch.multinomial((logits / temperature).softmax(-1), 1)[:, 0]
            for row, t in enumerate(chosen.tolist()):
                done[row] = done[row] or t in stops or int(position[row]) >= size
                if not done[row]:
                    out[row].append(t)
            if all(done):
                break
            position = position.clamp(max=size - 1)
            mask = (torch.arange(size, device=device)[None] <= position[:, None])[:, None, None]

            def step(layer, q, k, v):
                keys[layer][rows, :, position], values[layer][rows, :, position] = k[:, :, 0], v[:, :, 0]
                return F.scaled_dot_product_attention(q, keys[layer], values[layer], attn_mask=mask, enable_gqa=True)

            hidden = self(chosen[:, None], step, cos[position][:, None, None], sin[position][:, None, None])[:, 0]
            position = position + 1
        return out
