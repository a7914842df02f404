"""Where items come from, a file each."""
