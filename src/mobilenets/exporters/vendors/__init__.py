"""Programs that run vendors' converters: each is started by its path, in a process of its own, and imports nothing of ours."""
