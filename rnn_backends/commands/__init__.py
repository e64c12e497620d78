"""What the commands do; `rnn_backends.cli` is their command line."""
