"""Pictures of networks and of what they compute, by matplotlib: ``pip install 'rnn-backends[plot]'``.

Arrays may be of any backend, and are copied to the host.  Figures are pyplot's: in a notebook, end the last line of a
cell with a semicolon, or what is returned is shown beside the picture.
"""

from rnn_backends.plot.diagram import network
from rnn_backends.plot.likeliest import probabilities
from rnn_backends.plot.terms import trace
from rnn_backends.plot.walks import trajectories

__all__ = ["network", "probabilities", "trace", "trajectories"]
