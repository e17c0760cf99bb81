"""Several upstreams behind one host: whose a name is, who is asked, and one answer from all of theirs."""
