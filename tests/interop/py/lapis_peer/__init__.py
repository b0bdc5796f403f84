"""A peer of the Lapis protocol on py-libp2p, remerkleable and c-kzg. It shares no code with Lapis."""
