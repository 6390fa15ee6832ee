"""The page that runs a model in the browser: where its built files are, and how they are given out with a model."""

from mobilenets.web.folder import page_folder, write_page

__all__ = ["page_folder", "write_page"]
