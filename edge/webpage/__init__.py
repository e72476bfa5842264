"""A compiled plan as one web page, which trains it in a browser: written here, run by the scripts of `app/`."""
