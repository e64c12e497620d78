"""Networks placed on a device, and how they are made, run, sampled and saved."""
