// Asks for one streamed answer with a Node SDK and tells what came of it, as one line of JSON.
//
// In:   the folder with node_modules, the dialect (`responses-helper` is Responses by the SDK's own collector), and
//       where the sidecar listens: `host:port` or `unix:/path`.
// Out:  {"text": what was delivered, "last": the last event, "error": null or what was raised}.
import { createRequire } from "node:module";

const [folder, dialect, address] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { Agent, fetch } = require("undici");
const openai = require("openai");
const anthropic = require("@anthropic-ai/sdk");

const overUnix = address.startsWith("unix:");
const base = overUnix ? "http://localhost" : `http://${address}`;
const dispatcher = new Agent(overUnix ? { connect: { socketPath: address.slice("unix:".length) } } : {});
const settings = { apiKey: "k", maxRetries: 0, fetch, fetchOptions: { dispatcher } };
const messages = [{ role: "user", content: "hi" }];

const theirs = dialect === "messages" ? anthropic : openai;
const client =
  dialect === "messages"
    ? new anthropic.Anthropic({ baseURL: base, ...settings })
    : new openai.OpenAI({ baseURL: `${base}/v1`, ...settings });

const ask = {
  chat: () => client.chat.completions.create({ model: "m", messages, stream: true }),
  completions: () => client.completions.create({ model: "m", prompt: "hi", stream: true }),
  responses: () => client.responses.create({ model: "m", input: "hi", stream: true }),
  "responses-helper": async () => [{ final: await client.responses.stream({ model: "m", input: "hi" }).finalResponse() }],
  messages: () => client.messages.create({ model: "m", max_tokens: 9, messages, stream: true }),
};
const textOf = {
  chat: (event) => event.choices[0].delta.content,
  completions: (event) => event.choices[0].text,
  responses: (event) => (event.type === "response.output_text.delta" ? event.delta : ""),
  "responses-helper": (event) => event.final.output_text,
  messages: (event) => event.delta?.text,
};

const told = { text: "", last: null, error: null };
try {
  for await (const event of await ask[dialect]()) {
    told.text += textOf[dialect](event) ?? "";
    told.last = event;
  }
} catch (error) {
  told.error = {
    class: error.constructor.name,
    typed: error instanceof (theirs.OpenAIError ?? theirs.AnthropicError),
    status: error.status ?? null,
    code: error.code ?? error.error?.error?.code ?? null,
    type: error.type ?? null,
  };
}
console.log(JSON.stringify(told));
await dispatcher.destroy();
