"""The proxy's mind: events in, commands out. No I/O, no clock."""
