"""HTTP requests filled in from the arguments of a call, written by hand or read from OpenAPI.

A module imports only from what stands below it.

    openapi_document   an OpenAPI document, 3.0 or 3.1: its operations as tools
    openapi_operation  one operation of an OpenAPI document: its arguments, and the request that
                       they make
    openapi_parameter  A parameter of an operation: where it stands in a request, and how its value
                       is written there
    request_template   a request as a manifest writes it
    openapi_schema     schemas of an OpenAPI document as JSON Schema, with what they refer to
                       beside them
    json_path          a path into a JSON value
    request            a request made from a call's arguments
"""
