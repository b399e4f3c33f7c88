"""The GPT of crates/models/src/gpt.rs in PyTorch: LayerNorm, learned positions, GELU (tanh), biases, a tied head.
Parameters carry the names of the checkpoint's tensors."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, eps = config["n_embd"], config["layer_norm_epsilon"]
        ffn = config["n_inner"] or 4 * hidden
        self.heads = config["n_head"]
        self.ln_1 = nn.LayerNorm(hidden, eps=eps)
        self.attn = nn.ModuleDict({name: nn.Linear(hidden, hidden) for name in ("q", "k", "v", "c_proj")})
        self.ln_2 = nn.LayerNorm(hidden, eps=eps)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(hidden, ffn), "c_proj": nn.Linear(ffn, hidden)})

    def forward(self, x):
        """x [batch, seq, hidden]."""
        batch, seq, hidden = x.shape
        h = self.ln_1(x)
        q, k, v = (self.attn[name](h).view(batch, seq, self.heads, -1).transpose(1, 2) for name in "qkv")
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # [batch, heads, seq, dim]
        x = x + self.attn["c_proj"](attended.transpose(1, 2).reshape(batch, seq, hidden))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = config["n_embd"]
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config["vocab_size"], hidden),
                "wpe": nn.Embedding(config["n_positions"], hidden),
                "h": nn.ModuleList(Block(config) for _ in range(config["n_layer"])),
                "ln_f": nn.LayerNorm(hidden, eps=config["layer_norm_epsilon"]),
            }
        )

    @classmethod
    def load(cls, folder, weights="model.safetensors"):
        model = cls(json.loads((Path(folder) / "config.json").read_text()))
        model.load_state_dict(load_file(Path(folder) / weights))
        return model

    def forward(self, tokens, positions, mask):
        """tokens, positions [batch, seq] -> logits [batch, seq, vocab]; every row is one causal sequence."""
        x = self.transformer["wte"](tokens) + self.transformer["wpe"](positions)
        for block in self.transformer["h"]:
            x = block(x)
        return self.transformer["ln_f"](x) @ self.transformer["wte"].weight.T
