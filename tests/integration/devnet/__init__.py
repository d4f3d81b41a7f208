"""The devnet, with the outside wallet as signer."""
