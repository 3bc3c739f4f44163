"""What the services share: kernel (words), contracts (messages), runtime (plumbing)."""
