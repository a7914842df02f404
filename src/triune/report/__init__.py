"""Results as a page, as figure files and as a table for the terminal.

A section of the page is a file in ``sections/``, which turns results into the few values to be shown, and a template of
the same name in ``templates/``, which holds the words; ``page.py`` lists the sections in their order.
"""
