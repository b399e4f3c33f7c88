"""Times training steps of a LoRA adapter in PyTorch and PEFT on the batches of a run (see dump.py).

lora.py FOLDER MODE, with MODE one of eager-f32, eager-bf16, compiled-f32, compiled-bf16 (bf16: autocast): the initial
adapter is the folder's, its base the folder that it names. lora.py FOLDER trained loads the adapter that the other side
has trained and tells its mean loss of the first batch. Prints one JSON object."""

import contextlib
import json
import resource
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM

from dump import Run

transformers.logging.set_verbosity_error()
folder, mode = Path(sys.argv[1]), sys.argv[2]
run = Run(folder)
settings = run.settings
base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
base = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def mean_loss(model, inputs, targets):
    logits = model(input_ids=inputs, use_cache=False).logits.float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


if mode == "trained":
    model = PeftModel.from_pretrained(base, folder / "trained").eval()
    inputs, targets, *_ = next(run.batches("batches.bin", settings["batch_size"]))
    with torch.no_grad():
        print(json.dumps({"loss": mean_loss(model, inputs, targets).item()}))
    sys.exit()

how, precision = mode.split("-")
model = PeftModel.from_pretrained(base, folder, is_trainable=True).train()
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
constants = settings["optimizer"]
optimizer = torch.optim.AdamW(
    trained,
    lr=0.0,
    betas=(constants["beta1"], constants["beta2"]),
    eps=constants["epsilon"],
    weight_decay=constants["weight_decay"],
    fused=True,
)
forward = torch.compile(mean_loss) if how == "compiled" else mean_loss
cast = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
losses, times = [], []
for rate, (inputs, targets, *_) in zip(settings["learning_rates"], run.batches("batches.bin", settings["batch_size"])):
    began = time.perf_counter()
    optimizer.zero_grad()
    with cast:
        loss = forward(model, inputs, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, constants["gradient_clip"])
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    losses.append(loss.item())
    times.append(1e3 * (time.perf_counter() - began))
print(
    json.dumps(
        {
            "torch": torch.__version__,
            "parameters": sum(parameter.numel() for parameter in trained),
            "losses": losses,
            "milliseconds": times,
            "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
    )
)
