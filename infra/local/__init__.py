"""The native stack: real servers and the services on this machine, without Docker."""
