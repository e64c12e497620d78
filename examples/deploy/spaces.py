"""Put the spaces back into sentences that lost them, reading in both directions."""

import re
import sys
from pathlib import Path

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("spaces.safetensors"))
passage = Path(__file__).parent / "data" / "the-tempest.txt"
given = sys.argv[1:] or passage.read_text().splitlines()[:8]
sentences = [re.sub("[^a-z']", "", sentence.lower()) for sentence in given]

letters = str(rnn.vocabulary)
ids = [[letters.index(letter) for letter in sentence] for sentence in sentences]
x, lengths = rb.pad(ids)
# (seq_len, batch): 1 where a word begins, -1 after the end
begins = rnn.predict(x, lengths=lengths)

for sentence, tags in zip(sentences, begins.T, strict=True):
    spaced = [" " * tag + letter for letter, tag in zip(sentence, tags, strict=False)]
    print("".join(spaced).strip())
