"""The yearly number of sunspots: forecasts of one year ahead, and a free run of years to come."""

from pathlib import Path

import numpy as np

import rnn_backends as rb

rnn = rb.load(Path(__file__).with_name("sunspots.safetensors"))
years, numbers = np.loadtxt(Path(__file__).parent / "data" / "sunspots.csv", delimiter=",").T

stream = rnn.stream()
forecasts = stream.logits(numbers[:, None])[:, 0]  # after each year, of the next
for year, forecast, number in list(zip(years[1:], forecasts[:-1], numbers[1:], strict=True))[-5:]:
    print(f"{year:.0f}  forecast {forecast:5.1f}  counted {number:5.1f}")

held_out = years[1:] >= 1950  # the network was trained on the years before
for name, guess in {"network": forecasts[:-1], "last year's number": numbers[:-1]}.items():
    error = np.sqrt(np.mean(np.square(guess - numbers[1:])[held_out]))
    print(f"error of {name} in 1950-2008: {error:.1f} (root mean square)")

step = forecasts[-1:, None]
for year in range(2009, 2020):  # each forecast is the number that the next is made from
    print(f"{year}  free run {step[0, 0]:5.1f}")
    step = stream.logits(step)
