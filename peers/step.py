"""Times training steps of the decoder in PyTorch on the batches of a run (see dump.py).

step.py FOLDER MODE, with MODE one of eager-f32, eager-bf16, compiled-f32, compiled-bf16 (bf16: autocast). Prints one
JSON object: the loss of each step, the median milliseconds of a step behind the first five, peak resident memory."""

import contextlib
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

from decoder import Decoder
from dump import Run, adamw, nats

folder, mode = Path(sys.argv[1]), sys.argv[2]
how, precision = mode.split("-")
run = Run(folder)
settings = run.settings
model = Decoder.load(folder)
optimizer = adamw(model, settings["optimizer"])
forward = torch.compile(nats) if how == "compiled" else nats
cast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
losses, times = [], []
stream = run.batches("batches.bin", settings["batch_size"])
for rate, batch in zip(settings["learning_rates"], stream):
    counted = int((batch[1] >= 0).sum())
    began = time.perf_counter()
    optimizer.zero_grad()
    with cast:
        loss = forward(model, *batch) / counted
    loss.backward()
    if settings["optimizer"]["gradient_clip"] > 0:
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["optimizer"]["gradient_clip"])
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    losses.append(loss.item())
    times.append(time.perf_counter() - began)
result = {
    "torch": torch.__version__,
    "parameters": sum(parameter.numel() for parameter in model.parameters()),
    "losses": losses,
    "milliseconds": 1e3 * statistics.median(times[5:]),
    "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
}
print(json.dumps(result))
