"""How label files and folders are laid out on disk; each module reads one kind into a :class:`~.table.LabelTable`."""
