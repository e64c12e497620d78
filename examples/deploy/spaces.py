"""Put the spaces back into sentences that lost them; the network reads them in both directions."""

import re
import sys
from pathlib import Path

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("spaces.safetensors"))
passage = (Path(__file__).parent / "data" / "the-tempest.txt").read_text().splitlines()
sentences = [re.sub("[^a-z']", "", sentence.lower()) for sentence in sys.argv[1:] or passage[:8]]

letters = str(rnn.vocabulary)
x, lengths = rb.pad([[letters.index(letter) for letter in sentence] for sentence in sentences])
begins = rnn.predict(x, lengths=lengths)  # (seq_len, batch): 1 where a word begins, -1 after the end

for sentence, tags in zip(sentences, begins.T, strict=True):
    print("".join(" " * tag + letter for letter, tag in zip(sentence, tags, strict=False)).strip())
