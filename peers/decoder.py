"""The decoder of crates/models/src/decoder.rs in PyTorch: RMSNorm, rotary positions (half-split), grouped-query
attention, SwiGLU, a tied or untied head. Parameters carry the names of the checkpoint's tensors."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, ffn, dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
        heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.heads, self.kv_heads, self.dim, self.eps = heads, kv_heads, dim, config["rms_norm_eps"]
        self.input_layernorm = nn.RMSNorm(hidden, eps=self.eps)
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": nn.Linear(hidden, heads * dim, bias=False),
                "k_proj": nn.Linear(hidden, kv_heads * dim, bias=False),
                "v_proj": nn.Linear(hidden, kv_heads * dim, bias=False),
                "o_proj": nn.Linear(heads * dim, hidden, bias=False),
            }
        )
        self.post_attention_layernorm = nn.RMSNorm(hidden, eps=self.eps)
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": nn.Linear(hidden, ffn, bias=False),
                "up_proj": nn.Linear(hidden, ffn, bias=False),
                "down_proj": nn.Linear(ffn, hidden, bias=False),
            }
        )

    def forward(self, x, cos, sin, mask):
        """x [batch, seq, hidden]; cos, sin [batch, 1, seq, dim / 2]; mask [batch, 1, seq, seq], true where seen."""
        batch, seq, _ = x.shape
        h = self.input_layernorm(x)
        q = self.self_attn["q_proj"](h).view(batch, seq, self.heads, self.dim).transpose(1, 2)
        k = self.self_attn["k_proj"](h).view(batch, seq, self.kv_heads, self.dim).transpose(1, 2)
        v = self.self_attn["v_proj"](h).view(batch, seq, self.kv_heads, self.dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # [batch, heads, seq, dim]
        x = x + self.self_attn["o_proj"](attended.transpose(1, 2).reshape(batch, seq, self.heads * self.dim))
        h = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](h)) * self.mlp["up_proj"](h))


def rotate(x, cos, sin):
    """Feature i turns with feature i + dim / 2."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(config["vocab_size"], config["hidden_size"]),
                "layers": nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"])),
                "norm": nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"]),
            }
        )
        if not config["tie_word_embeddings"]:
            self.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)

    @classmethod
    def load(cls, folder, weights="model.safetensors"):
        config = json.loads((Path(folder) / "config.json").read_text())
        model = cls(config)
        model.load_state_dict(load_file(Path(folder) / weights))
        return model

    def forward(self, tokens, positions, mask):
        """tokens, positions [batch, seq]; mask [batch, seq, seq] -> logits [batch, seq, vocab]."""
        half = self.config["head_dim"] // 2
        exponents = torch.arange(half, dtype=torch.float64) * 2 / self.config["head_dim"]
        angles = positions[..., None].double() * self.config["rope_theta"] ** -exponents  # [batch, seq, half]
        cos, sin = angles.cos().float()[:, None], angles.sin().float()[:, None]
        x = self.model["embed_tokens"](tokens)
        for block in self.model["layers"]:
            x = block(x, cos, sin, mask[:, None])
        x = self.model["norm"](x)
        head = self.model["embed_tokens"].weight if self.config["tie_word_embeddings"] else self.lm_head.weight
        return x @ head.T


def packed(lengths):
    """Positions [batch, seq] and mask [batch, seq, seq] of documents behind one another, none seeing another.

    lengths holds one list a row, whose sums are equal."""
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in lengths])
    documents = torch.stack([torch.cat([torch.full((n,), i) for i, n in enumerate(row)]) for row in lengths])
    seq = positions.shape[1]
    causal = torch.ones(seq, seq, dtype=torch.bool).tril()
    return positions, causal & (documents[:, :, None] == documents[:, None, :])
