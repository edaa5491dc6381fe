"""HTTP requests from the arguments of a tool call: `http:` and `openapi:` under `tools:`.

A module imports only from what stands below it.

    openapi_document   reads an OpenAPI document: version, paths, names of operations, allow and
                       deny, base URL; the problems of `openapi:` entries
    openapi_operation  one operation: the schema of its arguments, its description, its request
    openapi_parameter  one parameter of an operation in path, query, header or cookie, by style
    request_template   `http:` entries: compiles URL, query, headers and body, fills in arguments;
                       the problems of `http:` entries
    openapi_schema     follows `$ref`, converts schemas of OpenAPI to JSON Schema
    json_path          parses and applies the paths of `pick:`, such as `items[*].name`
    request            URLs, headers and bodies: encoding, limits, protection from injection
"""
