"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    request            a request made from a call's arguments
    request_template   a request as a manifest writes it
    json_path          a path into a JSON value
    openapi_document   An OpenAPI document, 3.0 or 3.1: its operations as tools.
    openapi_operation  One operation of an OpenAPI document: its arguments, and the request that they make.
    openapi_parameter  A parameter of an operation: where it stands in a request, and how its value is written there.
    openapi_schema     Schemas of an OpenAPI document as JSON Schema, with what they refer to beside them.
"""
