"""Compares this repository's tokenizer with Python's: python_parity.py FOLDER, cases as JSON lines on stdin.

Each line is {"text", "plain", "marked", "decoded"} or {"messages", "prompt", "rendered", "ids"}.
Prints one JSON object: how many cases of each kind agreed, and the first that did not.
"""

import json
import sys
from pathlib import Path

from jinja2 import BaseLoader
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

folder = Path(sys.argv[1])
marking = Tokenizer.from_file(str(folder / "tokenizer.json"))
plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
plain.encode_special_tokens = True
config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
jinja = ImmutableSandboxedEnvironment(
    loader=BaseLoader(), trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
)
template = jinja.from_string(config["chat_template"])
for name in ("eos_token", "pad_token", "bos_token"):
    assert marking.token_to_id(config[name]) is not None, name


def differences(case):
    if "text" in case:
        yield "plain", plain.encode(case["text"], add_special_tokens=False).ids, case["plain"]
        yield "marked", marking.encode(case["text"], add_special_tokens=False).ids, case["marked"]
        yield "decoded", marking.decode(case["plain"]), case["decoded"]
    else:
        rendered = template.render(
            messages=case["messages"], add_generation_prompt=case["prompt"],
            bos_token=config["bos_token"], eos_token=config["eos_token"],
        )
        yield "rendered", rendered, case["rendered"]
        yield "ids", marking.encode(rendered, add_special_tokens=False).ids, case["ids"]


agreed = {"text": 0, "messages": 0}
first = None
for line in sys.stdin:
    case = json.loads(line)
    wrong = [(what, python, rust) for what, python, rust in differences(case) if python != rust]
    agreed["text" if "text" in case else "messages"] += not wrong
    if wrong and first is None:
        first = {"case": case, "what": wrong[0][0], "python": wrong[0][1], "rust": wrong[0][2]}
print(json.dumps({"agreed": agreed, "first": first}))
