"""Stores, lists, revokes and resolves keys. The one service that holds plaintext keys, and never for long."""
