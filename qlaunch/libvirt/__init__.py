"""To and from libvirt: domain XML, and the hook scripts of the guides. Pure but for reading files that are named."""
