"""remoteobj beside its peers: ``make bench-peers``. One module per peer, all of one shape."""
