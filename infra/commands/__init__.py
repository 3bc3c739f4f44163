"""The operators' commands, one module a subject; each adds itself to `latchkey`'s parser."""
