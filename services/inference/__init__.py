"""inference: claims runs, calls providers (alone of all services), relays their answers, records usage."""
