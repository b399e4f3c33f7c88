"""Loads an exported folder as anyone would, and prints what it computes: ids, logits, the chat template's text."""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, texts = sys.argv[1], sys.argv[2:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
found = []
for text in texts:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1]
    found.append({"ids": ids, "logits": logits.tolist()})
chat = [{"role": "user", "content": texts[0]}]
chat = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
print(json.dumps({"texts": found, "chat": chat}))
