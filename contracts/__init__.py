"""The wire: everything that Experience, Runtime and the page must agree on."""
