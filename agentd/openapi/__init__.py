"""OpenAPI 3.0 and 3.1: the operations of a document as tools."""
