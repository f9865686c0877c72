"""Parts of networks that losses put around them."""
