"""Times training steps of a model in PyTorch on the batches of a run (see dump.py).

step.py FOLDER MODE [DEVICE], with MODE one of eager-f32, eager-bf16, compiled-f32, compiled-bf16 (bf16: autocast), and
DEVICE cpu or cuda. Prints one JSON object: loss and milliseconds of each step, peak memory (resident, or the GPU's)."""

import contextlib
import json
import resource
import sys
import time
from pathlib import Path

import torch

from decoder import Decoder
from dump import Run, adamw, nats
from gpt import Gpt

folder, mode = Path(sys.argv[1]), sys.argv[2]
how, precision = mode.split("-")
device = sys.argv[3] if len(sys.argv) > 3 else "cpu"
run = Run(folder)
settings = run.settings
kind = json.loads((folder / "config.json").read_text())["model_type"]
model = {"llama": Decoder, "gpt2": Gpt}[kind].load(folder).to(device)
optimizer = adamw(model, settings["optimizer"])
forward = torch.compile(nats) if how == "compiled" else nats
cast = torch.autocast(device, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
losses, times = [], []
stream = run.batches("batches.bin", settings["batch_size"])
for rate, batch in zip(settings["learning_rates"], stream):
    counted = int((batch[1] >= 0).sum())
    batch = [part.to(device) for part in batch]
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
    times.append(1e3 * (time.perf_counter() - began))
result = {
    "torch": torch.__version__,
    "parameters": sum(parameter.numel() for parameter in model.parameters()),
    "losses": losses,
    "milliseconds": times,
    "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if device == "cpu"
    else torch.cuda.max_memory_allocated(),
}
print(json.dumps(result))
