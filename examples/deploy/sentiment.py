"""The mood of a sentence, word by word: python sentiment.py "the soup was cold" ..."""

import re
import sys
from pathlib import Path

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("sentiment.safetensors"))
moods = rnn.metadata["classes"].split()

for sentence in sys.argv[1:] or [
    "We had a wonderful evening with delicious food.",
    "I was not happy with the room.",
    "I expected a boring museum, but it was amazing.",
    "The waiter was rude and very slow.",
]:
    words = " ".join(re.findall("[a-z]+", sentence.lower()))
    probabilities = rnn.probabilities(words)
    print(f"{moods[probabilities.argmax()]} {probabilities.max():.0%}  {sentence}")
