"""Values in, values out: no network, no clock, no environment, writes nothing."""
