"""The contracts as others read them: JSON Schemas, an AsyncAPI document, a page, by `make contracts`.

`found` lists the messages, `routes` says who sends and receives them (from topology and permissions),
`schemas`, `asyncapi` and `page` are the three forms, `files` all of it.
"""
