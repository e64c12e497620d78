"""Files of rnn_backends' own: safetensors and npz."""
