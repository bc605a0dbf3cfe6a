"""The page in the browser: a server on this machine, its queue, its work."""
