"""Declarations bound to Starlette, httpx, WebSockets and the document formats."""
