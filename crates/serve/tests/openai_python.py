"""Uses served models through OpenAI's own package: openai_python.py BASE_URL MODEL KEY ENCODER."""

import json
import sys

import openai

base_url, model, key, encoder = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is the reef open?"}]
options = {"model": model, "max_tokens": 24, "temperature": 1.0, "seed": 11}

assert [entry.id for entry in client.models.list()] == [model, encoder]
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


# Answers of a form.
schema = {
    "type": "object",
    "properties": {"open": {"type": "boolean"}, "metres": {"enum": [5, 10]}},
    "required": ["open", "metres"],
    "additionalProperties": False,
}
form = {"type": "json_schema", "json_schema": {"name": "reef", "schema": schema, "strict": True}}
roomy = {**options, "max_tokens": 200}
shaped = client.chat.completions.create(messages=messages, response_format=form, **roomy)
assert json.loads(shaped.choices[0].message.content)["metres"] in (5, 10)
guided = client.chat.completions.create(messages=messages, extra_body={"guided_choice": ["yes", "no"]}, **roomy)
assert guided.choices[0].message.content in ("yes", "no")

# Calls: whole, and as the package's own stream puts them together.
tool = {"type": "function", "function": {"name": "depth", "description": "How deep", "parameters": schema}}
chosen = {"type": "function", "function": {"name": "depth"}}
asked = {"messages": messages, "tools": [tool], "tool_choice": chosen, **roomy}
called = client.chat.completions.create(**asked).choices[0]
assert called.finish_reason == "tool_calls" and called.message.content is None
call = called.message.tool_calls[0]
assert call.function.name == "depth" and json.loads(call.function.arguments)["metres"] in (5, 10)
with client.chat.completions.stream(**asked) as stream:
    fragments = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
    final = stream.get_final_completion().choices[0].message.tool_calls[0]
assert len(fragments) > 1 and final.function.arguments == call.function.arguments
result = {"role": "tool", "tool_call_id": call.id, "content": "10 m"}
after = client.chat.completions.create(messages=[*messages, called.message, result], tools=[tool], **options)
assert after.usage.prompt_tokens > whole.usage.prompt_tokens

# Vectors: the package asks for base64 and gives numbers.
vectors = client.embeddings.create(model=encoder, input=["The reef", "A turtle"])
assert len(vectors.data) == 2 and abs(sum(x * x for x in vectors.data[0].embedding) - 1) < 1e-4
floats = client.embeddings.create(model=encoder, input="The reef", encoding_format="float").data[0].embedding
assert max(abs(a - b) for a, b in zip(floats, vectors.data[0].embedding)) < 1e-6
assert len(client.embeddings.create(model=encoder, input="The reef", dimensions=4).data[0].embedding) == 4

# Responses.
brief = {"model": model, "max_output_tokens": 200, "temperature": 0}
first = client.responses.create(input="Is the reef open?", instructions="Be brief.", **brief)
assert first.output_text and first.status in ("completed", "incomplete")
again = client.responses.create(input="Why?", previous_response_id=first.id, **brief)
assert again.usage.input_tokens > first.usage.output_tokens
assert client.responses.retrieve(first.id).output_text == first.output_text
with client.responses.stream(input="Is the reef open?", instructions="Be brief.", **brief) as stream:
    text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text == first.output_text == stream.get_final_response().output_text
flat = {"type": "json_schema", "name": "reef", "schema": schema, "strict": True}
shaped = client.responses.create(input="Is it open?", text={"format": flat}, **brief)
assert json.loads(shaped.output_text)["metres"] in (5, 10)
tool = {"type": "function", "name": "depth", "parameters": schema, "strict": True}
called = client.responses.create(input="How deep?", tools=[tool], tool_choice="required", parallel_tool_calls=False, **brief)
call = called.output[0]
assert call.type == "function_call" and json.loads(call.arguments)["metres"] in (5, 10)
output = {"type": "function_call_output", "call_id": call.call_id, "output": "10 m"}
client.responses.create(input=[output], previous_response_id=called.id, tools=[tool], **brief)
client.responses.delete(first.id)


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
error = refused(openai.BadRequestError, lambda: chat(model=model, messages=messages, tool_choice="required"))
assert error.param == "tool_choice"
error = refused(openai.BadRequestError, lambda: chat(model=encoder, messages=messages))
assert error.param == "model"
refused(openai.NotFoundError, lambda: client.responses.retrieve(first.id))
stranger = openai.OpenAI(base_url=base_url, api_key="wrong", max_retries=0)
assert refused(openai.AuthenticationError, stranger.models.list).code == "invalid_api_key"

rating = {"answer_id": whole.id, "rating": "down", "correction": "Yes, from May to October."}
assert client.post("/feedback", body=rating, cast_to=object)["rating"] == "down"
print("openai", openai.__version__, "works")
