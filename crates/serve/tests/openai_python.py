"""Uses a served model through OpenAI's own package: openai_python.py BASE_URL MODEL KEY."""

import sys

import openai

base_url, model, key = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is the reef open?"}]
options = {"model": model, "max_tokens": 24, "temperature": 1.0, "seed": 11}

assert [entry.id for entry in client.models.list()] == [model]
assert client.models.retrieve(model).id == model

whole = client.chat.completions.create(messages=messages, **options)
text = whole.choices[0].message.content
assert whole.id.startswith("chatcmpl-") and whole._request_id.startswith("req_")
assert whole.choices[0].finish_reason in ("stop", "length")
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens

chunks = list(
    client.chat.completions.create(messages=messages, stream=True, stream_options={"include_usage": True}, **options)
)
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert streamed == text, (streamed, text)
assert chunks[0].choices[0].delta.role == "assistant"
assert chunks[-1].usage == whole.usage and not chunks[-1].choices

with client.chat.completions.stream(messages=messages, **options) as stream:
    assert "".join(event.delta for event in stream if event.type == "content.delta") == text

scored = client.chat.completions.create(messages=messages, logprobs=True, top_logprobs=3, n=2, **options)
assert scored.choices[0].message.content == text and len(scored.choices) == 2
for entry in scored.choices[0].logprobs.content:
    assert len(entry.top_logprobs) == 3 and bytes(entry.bytes).decode(errors="replace") == entry.token

completion = client.completions.create(prompt="The reef", echo=True, logprobs=2, stop=["zzz"], **options)
assert completion.choices[0].text.startswith("The reef")
logprobs = completion.choices[0].logprobs
assert len(logprobs.tokens) == completion.usage.total_tokens and logprobs.token_logprobs[0] is None
pieces = [chunk.choices[0].text for chunk in client.completions.create(prompt="The reef", stream=True, **options)]
assert "The reef" + "".join(pieces) == completion.choices[0].text
batch = client.completions.create(prompt=[[5, 6, 7], [8, 9]], **options)
assert [choice.index for choice in batch.choices] == [0, 1]


def refused(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


chat = client.chat.completions.create
error = refused(openai.NotFoundError, lambda: chat(model="gpt-9", messages=messages))
assert error.code == "model_not_found" and error.type == "invalid_request_error"
error = refused(openai.BadRequestError, lambda: chat(model=model, messages=messages, temperature=9))
assert error.param == "temperature"
error = refused(openai.BadRequestError, lambda: chat(model=model, messages=messages, max_tokens=10**6))
assert error.code == "context_length_exceeded"
stranger = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
assert refused(openai.AuthenticationError, stranger.models.list).code == "invalid_api_key"

rating = {"answer_id": whole.id, "rating": "down", "correction": "Yes, from May to October."}
assert client.post("/feedback", body=rating, cast_to=object)["rating"] == "down"
print("openai", openai.__version__, "works")
