"""The Pulumi engine: find or install it, drive it, show its progress, recover after a kill."""
