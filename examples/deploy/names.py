"""The language that a family name comes from: python names.py Nakamura Rossi ..."""

import sys
from pathlib import Path

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("names.safetensors"))
languages = rnn.metadata["classes"].split()

some = ["Wilkinson", "Rantanen", "Krueger", "Castelli", "Nishimura", "Smirnov"]
for name in sys.argv[1:] or some:
    probabilities = rnn.probabilities(name.strip().lower())
    likeliest = probabilities.argsort()[::-1][:3]
    shares = [f"{languages[k]} {probabilities[k]:.0%}" for k in likeliest]
    print(f"{name:12}", *shares, sep="  ")
