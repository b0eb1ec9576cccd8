"""Applications; each is one folder, registered through its plug-in, and none imports another."""
