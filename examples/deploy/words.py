"""Continue a text word by word, and measure what the network makes of a new passage."""

import re
import sys
from math import exp
from pathlib import Path

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("words.safetensors"))
given = re.findall(r"[a-z']+|[.,;:?!]", " ".join(sys.argv[1:]).lower())
prompt = " ".join(given) or "my lord ,"
print(prompt, rnn.generate(prompt, 60, temperature=0.7, seed=1))

data = Path(__file__).parent / "data" / "the-tempest.txt"
passage = data.read_text().split()
loss = rnn.loss(" ".join(passage[:-1]), " ".join(passage[1:]))
print(f"perplexity of {len(passage)} words of The Tempest: {exp(loss):.1f}")
