"""The temperature of the Pacific a month ahead, from a table of two years."""

from pathlib import Path

import numpy as np

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("forecast.safetensors"))
data = Path(__file__).parent / "data" / "sea-temperatures.csv"
table = np.loadtxt(data, delimiter=",", skiprows=1)
first = int(np.argmax(table[:, 0] == 2001))  # the years before were for training
truth, naive = table[first:, 4], table[first - 1 : -1, 4]  # naive: as the month before

# (120, 24, 5): month and four regions
x = np.stack([table[k - 24 : k, 1:] for k in range(first, len(table))])
forecasts = rnn.logits(x)[:, 2]  # of the region Nino 3.4

for row, forecast in list(zip(table[first:], forecasts, strict=True))[-6:]:
    month = f"{row[0]:.0f}-{row[1]:02.0f}"
    print(f"{month}  forecast {forecast:.2f}  measured {row[4]:.2f}")
for name, guess in {"network": forecasts, "naive": naive}.items():
    error = np.sqrt(np.mean((guess - truth) ** 2))
    print(f"error of the {name} forecasts: {error:.2f} degrees (root mean square)")
