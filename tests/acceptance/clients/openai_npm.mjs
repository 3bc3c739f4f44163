// The `openai` package for Node. Says in one line of JSON what came of each way to use it.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: `${process.env.LATCHKEY_URL}/v1`,
  apiKey: process.env.LATCHKEY_USER_TOKEN,
  maxRetries: 0,
});
const model = "openai/gpt-4o-mini";
const said = (content) => [{ role: "user", content }];
const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      description: "The weather in a city",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

const plain = await client.chat.completions.create({ model, messages: said("Hello there") });

let streamed = "";
let total = 0;
const stream = await client.chat.completions.create({
  model,
  messages: said("Hello again there"),
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  total = chunk.usage?.total_tokens ?? total;
}

const called = await client.chat.completions.create({ model, messages: said("[simulate call_tool] Rome"), tools });
const call = called.choices[0].message.tool_calls[0].function;

const runner = client.chat.completions.stream({ model, messages: said("[simulate call_tool] Paris"), tools });
const calledInStream = (await runner.finalChatCompletion()).choices[0].message.tool_calls[0].function;

let error;
try {
  await client.chat.completions.create(
    { model: "anthropic/claude-haiku-4-5", messages: said("Hello") },
    { headers: { "Latchkey-Flow": "solver" } },
  );
} catch (raised) {
  error = { status: raised.status, code: raised.code };
}

console.log(
  JSON.stringify({
    plain: plain.choices[0].message.content,
    streamed,
    has_usage: total > 0 && plain.usage.total_tokens > 0,
    tool: { name: call.name, arguments: JSON.parse(call.arguments) },
    streamed_tool: { name: calledInStream.name, arguments: JSON.parse(calledInStream.arguments) },
    error,
  }),
);
