// The Vercel AI SDK with its provider for OpenAI-compatible servers.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, streamText, tool } from "ai";

const provider = (headers) =>
  createOpenAICompatible({
    name: "latchkey",
    baseURL: `${process.env.LATCHKEY_URL}/v1`,
    apiKey: process.env.LATCHKEY_USER_TOKEN,
    includeUsage: true,
    headers,
  });
const model = provider({})("openai/gpt-4o-mini");
const tools = {
  weather: tool({
    description: "The weather in a city",
    inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
  }),
};
const calls = (found) => ({ name: found[0].toolName, arguments: found[0].input });

const plain = await generateText({ model, prompt: "Hello there", maxRetries: 0 });

const stream = streamText({ model, prompt: "Hello again there", maxRetries: 0 });
let streamed = "";
for await (const piece of stream.textStream) streamed += piece;
const usage = await stream.usage;

const called = await generateText({ model, tools, prompt: "[simulate call_tool] Rome", maxRetries: 0 });
const calledInStream = streamText({ model, tools, prompt: "[simulate call_tool] Paris", maxRetries: 0 });
await calledInStream.consumeStream();

let error;
try {
  const strict = provider({ "Latchkey-Flow": "solver" })("anthropic/claude-haiku-4-5");
  await generateText({ model: strict, prompt: "Hello", maxRetries: 0 });
} catch (raised) {
  error = { status: raised.statusCode, code: JSON.parse(raised.responseBody).error.code };
}

console.log(
  JSON.stringify({
    plain: plain.text,
    streamed,
    has_usage: usage.totalTokens > 0 && plain.usage.totalTokens > 0,
    tool: calls(called.toolCalls),
    streamed_tool: calls(await calledInStream.toolCalls),
    error,
  }),
);
