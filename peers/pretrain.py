"""Pre-trains the decoder in PyTorch as Ontogeny did: the same initial weights, batches, learning rates, optimiser.

pretrain.py FOLDER, as written by `pretrain` with its peer dump (see dump.py). Prints one JSON object; the loss of every
50th step goes to stderr."""

import json
import math
import sys
import time
from pathlib import Path

import torch

from decoder import Decoder
from dump import Run, adamw, nats

folder = Path(sys.argv[1])
run = Run(folder)
settings = run.settings
context, rows, steps = run.context, settings["batch_size"], settings["steps"]


def bits_per_byte(model):
    with torch.no_grad():
        total = sum(nats(model, *batch).item() for batch in run.batches("validation.bin", 16))
    return total / math.log(2) / settings["validation_bytes"]


model = Decoder.load(folder)
optimizer = adamw(model, settings["optimizer"])
initial = bits_per_byte(model)
stream = run.batches("batches.bin", rows)
losses = []
began = time.perf_counter()
for step, rate in enumerate(settings["learning_rates"]):
    micro = [next(stream) for _ in range(settings["accumulation"])]
    counted = sum(int((batch[1] >= 0).sum()) for batch in micro)
    optimizer.zero_grad()
    loss = 0.0
    for batch in micro:
        part = nats(model, *batch) / counted
        part.backward()
        loss += part.item()
    if settings["optimizer"]["gradient_clip"] > 0:
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["optimizer"]["gradient_clip"])
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    losses.append(loss)
    if (step + 1) % 50 == 0 or step + 1 == steps:
        print(f"step {step + 1} of {steps}, loss {loss:.4f}", file=sys.stderr, flush=True)
seconds = time.perf_counter() - began

tokens = steps * settings["accumulation"] * rows * context
result = {
    "torch": torch.__version__,
    "parameters": sum(parameter.numel() for parameter in model.parameters()),
    "tokens": tokens,
    "initial_bits_per_byte": initial,
    "validation_bits_per_byte": bits_per_byte(model),
    "loss": loss,
    "losses": losses,
    "seconds": seconds,
    "tokens_per_second": tokens / seconds,
}
print(json.dumps(result))
