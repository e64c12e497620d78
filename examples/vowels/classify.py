"""Who of nine men says /ae/, by utterances of the test set: python classify.py, or python classify.py 0 100 200 ..."""

import sys
from pathlib import Path

import numpy as np

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("vowels.safetensors"))
names = rnn.metadata["classes"].split()
with np.load(Path(__file__).parent / "data" / "vowels.npz") as data:
    speakers, lengths = data["test_speakers"], data["test_lengths"]
    utterances = np.split(data["test"], lengths.cumsum()[:-1])  # (length, 12) each

for k in map(int, sys.argv[1:] or ["0", "31", "137", "189", "369"]):
    probabilities = rnn.probabilities(utterances[k][:, None])[0]
    guess = probabilities.argmax()
    print(f"{k:3}  {names[guess]} {probabilities[guess]:.0%}  (it is {names[speakers[k]]}; {lengths[k]} steps)")

x, lengths = rb.pad(utterances)  # all in one batch: (29, 370, 12)
right = rnn.predict(x, lengths=lengths) == speakers
print(f"{right.sum()} of {len(right)} utterances right, {right.mean():.1%}")
