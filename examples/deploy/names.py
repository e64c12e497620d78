"""The language that a family name comes from, letter by letter: python names.py Nakamura Rossi ..."""

import sys
from pathlib import Path

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("names.safetensors"))
languages = rnn.metadata["classes"].split()

for name in sys.argv[1:] or ["Wilkinson", "Rantanen", "Krueger", "Castelli", "Nishimura", "Smirnov"]:
    probabilities = rnn.probabilities(name.strip().lower())
    likeliest = probabilities.argsort()[::-1][:3]
    print(f"{name:12}", *(f"{languages[k]} {probabilities[k]:.0%}" for k in likeliest), sep="  ")
