"""Architecture search within a budget: NetAdapt and a search over shapes, with latencies measured on the device."""
