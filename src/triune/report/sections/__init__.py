"""The sections of the page, one a file: each takes what was found and gives what its template shows, or None."""
