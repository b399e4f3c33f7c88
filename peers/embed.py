"""Embeds the texts of a JSON file with sentence-transformers, and times it: prints vectors and texts a second."""

import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

folder, texts, timed, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})
with open(texts) as file:
    texts = json.load(file)
with open(timed) as file:
    timed = json.load(file)
model.encode(texts)
begun = time.perf_counter()
model.encode(timed, show_progress_bar=False)
seconds = time.perf_counter() - begun
print(json.dumps({"embeddings": model.encode(texts).tolist(), "texts_per_second": len(timed) / seconds}))
