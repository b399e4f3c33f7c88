"""Reads what `pretrain --dump-peer` writes: the initial weights, every batch in order, the learning rates.

A batch file holds, for each row of `context` tokens, three runs of little-endian i32: inputs, targets (-1 where a target
does not count), and the sequence a token belongs to."""

import json

import numpy as np
import torch
import torch.nn.functional as F


class Run:
    """run.json of a folder, and its batches."""

    def __init__(self, folder):
        self.folder = folder
        self.settings = json.loads((folder / "run.json").read_text())
        self.context = self.settings["context"]
        self.causal = torch.ones(self.context, self.context, dtype=torch.bool).tril()

    def batches(self, name, rows):
        """Batches of at most `rows` rows: inputs, targets, positions [rows, context], mask [rows, context, context]."""
        table = np.memmap(self.folder / name, dtype="<i4", mode="r").reshape(-1, 3, self.context)
        for start in range(0, len(table), rows):
            piece = torch.from_numpy(np.array(table[start : start + rows])).long()
            inputs, targets, sequences = piece[:, 0], piece[:, 1], piece[:, 2]
            starts = torch.ones_like(sequences, dtype=torch.bool)
            starts[:, 1:] = sequences[:, 1:] != sequences[:, :-1]
            places = torch.arange(self.context).expand_as(sequences)
            positions = places - torch.where(starts, places, 0).cummax(dim=1).values
            yield inputs, targets, positions, self.causal & (sequences[:, :, None] == sequences[:, None, :])


def nats(model, inputs, targets, positions, mask):
    """Summed cross-entropy of the targets that count."""
    logits = model(inputs, positions, mask).float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")


def adamw(model, constants):
    """The optimiser with the run's constants: matrices decay, vectors do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": constants["weight_decay"]},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=0.0,
        betas=(constants["beta1"], constants["beta2"]),
        eps=constants["epsilon"],
        fused=True,
    )
