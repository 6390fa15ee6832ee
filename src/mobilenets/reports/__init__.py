"""Reports for people: HTML, Markdown, plots."""
