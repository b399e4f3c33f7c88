"""Pre-trains the decoder in PyTorch as Ontogeny did: the same initial weights, batches, learning rates, optimiser.

pretrain.py FOLDER, as written by `pretrain` with its peer dump: config.json, model.safetensors (initial weights),
run.json, batches.bin and validation.bin. A batch file holds, for each row of `context` tokens, three runs of
little-endian i32: inputs, targets (-1 where a target does not count), and the sequence a token belongs to.
Prints one JSON object; the loss of every 50th step goes to stderr."""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from decoder import Decoder

folder = Path(sys.argv[1])
run = json.loads((folder / "run.json").read_text())
context, rows, steps = run["context"], run["batch_size"], run["steps"]
constants = run["optimizer"]
CAUSAL = torch.ones(context, context, dtype=torch.bool).tril()


def batches(name, rows):
    """Batches of at most `rows` rows: inputs, targets, positions [rows, context], mask [rows, context, context]."""
    table = np.memmap(folder / name, dtype="<i4", mode="r").reshape(-1, 3, context)
    for start in range(0, len(table), rows):
        piece = torch.from_numpy(np.array(table[start : start + rows])).long()
        inputs, targets, sequences = piece[:, 0], piece[:, 1], piece[:, 2]
        starts = torch.ones_like(sequences, dtype=torch.bool)
        starts[:, 1:] = sequences[:, 1:] != sequences[:, :-1]
        places = torch.arange(context).expand_as(sequences)
        positions = places - torch.where(starts, places, 0).cummax(dim=1).values
        yield inputs, targets, positions, CAUSAL & (sequences[:, :, None] == sequences[:, None, :])


def nats(model, inputs, targets, positions, mask):
    """Summed cross-entropy of the targets that count."""
    logits = model(inputs, positions, mask)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")


def bits_per_byte(model):
    with torch.no_grad():
        total = sum(nats(model, *batch).item() for batch in batches("validation.bin", 16))
    return total / math.log(2) / run["validation_bytes"]


model = Decoder.load(folder)
matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
optimizer = torch.optim.AdamW(
    [
        {"params": matrices, "weight_decay": constants["weight_decay"]},
        {"params": vectors, "weight_decay": 0.0},
    ],
    lr=0.0,
    betas=(constants["beta1"], constants["beta2"]),
    eps=constants["epsilon"],
)
initial = bits_per_byte(model)
stream = batches("batches.bin", rows)
began = time.perf_counter()
for step, rate in enumerate(run["learning_rates"]):
    micro = [next(stream) for _ in range(run["accumulation"])]
    counted = sum(int((batch[1] >= 0).sum()) for batch in micro)
    optimizer.zero_grad()
    loss = 0.0
    for batch in micro:
        part = nats(model, *batch) / counted
        part.backward()
        loss += part.item()
    if constants["gradient_clip"] > 0:
        torch.nn.utils.clip_grad_norm_(model.parameters(), constants["gradient_clip"])
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    if (step + 1) % 50 == 0 or step + 1 == steps:
        print(f"step {step + 1} of {steps}, loss {loss:.4f}", file=sys.stderr, flush=True)
seconds = time.perf_counter() - began

tokens = steps * run["accumulation"] * rows * context
result = {
    "torch": torch.__version__,
    "parameters": sum(parameter.numel() for parameter in model.parameters()),
    "tokens": tokens,
    "initial_bits_per_byte": initial,
    "validation_bits_per_byte": bits_per_byte(model),
    "loss": loss,
    "seconds": seconds,
    "tokens_per_second": tokens / seconds,
}
print(json.dumps(result))
