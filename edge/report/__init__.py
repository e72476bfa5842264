"""The report of a run: recorded once, rendered as JSON, terminal table, SVG and one HTML page."""
