"""All providers at one address; it misbehaves on request. For the demo, the tests, and `make up SIMULATOR=1`.

    python -m infra.simulator --host 127.0.0.1 --port 9400

`POST /v1/chat/completions` (plain and SSE) in OpenAI's shapes. The answer echoes the prompt, one token a
word; equal prompts get equal texts and usage. The key comes as `Authorization: Bearer`, `x-api-key` or
`api-key`. A model whose name contains `no-such` is a 404.

What tells about a key, each with its provider's auth and shapes:

GET /v1/models    OpenAI's; with `x-api-key` Anthropic's, which wants an `anthropic-version` too
GET /v1/key       OpenRouter's (bearer only)
GET /v1/api-key   xAI's (bearer only; a wrong key is a 400)

Every non-empty key is good, except one that contains

-bad-             401 everywhere; like every refusal of a key as wrong, it quotes the whole key, so that leaks
                  can be looked for
-expired-         401 everywhere, in words that say so
-broke-           402 everywhere
-forbidden-       403 everywhere
-revoked-         401 in chat; what tells about a key finds it good, here and below
-spent-           402 in chat
-limited-         429 in chat, with `Retry-After: 2`

Directives stand in the last user message and may be combined, in one bracket or several:

    [simulate status=429 retry_after=2]

status=N          answers with HTTP N (400-599) and OpenAI's error body
retry_after=S     adds `Retry-After: S` (whole seconds) to that error
latency_ms=N      waits before the first byte of the response, error responses too
first_token_ms=N  stream: headers at once, then waits before the first chunk; plain: as latency_ms
chunks=N          spreads the content over N chunks (repeats the words when there are too few)
chunk_ms=N        waits between the content chunks
stall_after=N     sends N content chunks, then nothing, the connection open; plain: half the body first
cut_after=N       sends N content chunks, then closes the socket; plain: half the body first
no_usage          reports no usage
tokens=P,C        reports P prompt and C completion tokens
cache=R,W         reports R of the prompt tokens as read from the provider's cache, and W as written to it
redirect          302 to `/redirected`, which counts who follows
garbage           200 with something that is not JSON
call_tool         calls the first of the request's tools, with the prompt for each of its required parameters
no_responses      404 from the Responses endpoint

An unknown directive is a 400, so that a mistyped test cannot pass.

Every answer of the chat has an `x-request-id`, errors too.

`GET /_simulator/calls` tells what was called with which key (see `control.Calls`), `POST /_simulator/reset`
forgets it, `GET /healthz` answers `ok`. No key and no header is ever logged; keys are counted by their
SHA-256.
"""
