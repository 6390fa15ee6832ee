"""Networks for a budget: NetAdapt and a search over shapes, by latencies that were measured on the device."""
