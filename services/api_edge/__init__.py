"""api_edge: REST, SSE, auth and flows. Seals keys, asks for runs and tells what comes of them."""
