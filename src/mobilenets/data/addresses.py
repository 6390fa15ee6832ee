"""Distinguishes web addresses of files from paths; `remote` reads such files."""

from __future__ import annotations

import urllib.parse

SCHEMES = ("http://", "https://")


def is_remote(source: str) -> bool:
    """Whether a source is the address of a file on a web server."""
    return source.startswith(SCHEMES)


def file_name(url: str) -> str:
    """The file name in an address: what follows the last slash of its path.

    >>> file_name("https://host/shards/a-000.tar?token=x")
    'a-000.tar'
    """
    path = url.partition("?")[0].partition("#")[0]
    return urllib.parse.unquote(path.rpartition("/")[2])
