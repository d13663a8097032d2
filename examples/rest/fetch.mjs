// An asynchronous completion over REST, in Node. REST_URL names the emulator; without it the service is called.
const { REST_URL, YC_API_KEY = "emulator", YC_FOLDER_ID = "demo" } = process.env;
const headers = { authorization: `Api-Key ${YC_API_KEY}`, "content-type": "application/json" };
async function ask(host, path, options = {}) {
  const answer = await fetch(`${REST_URL ?? `https://${host}.api.cloud.yandex.net`}${path}`, { headers, ...options });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}
const messages = [{ role: "user", text: "To be, or not to be" }];
const body = JSON.stringify({ modelUri: `gpt://${YC_FOLDER_ID}/yandexgpt`, completionOptions: { maxTokens: "2000" }, messages });
let operation = await ask("llm", "/foundationModels/v1/completionAsync", { method: "POST", body });
while (!operation.done) {
  await new Promise((wake) => setTimeout(wake, 1000));
  operation = await ask("operation", `/operations/${operation.id}`);
}
console.log(operation.response.alternatives[0].message.text);
