#!/usr/bin/env bash
# The guide's two requests with curl: submit a completion, then ask for its operation until it is done.
# REST_URL names the emulator, as `yagrpc emulator --rest-port 0` prints it; without it the service is called.
set -euo pipefail
model_url=${REST_URL:-https://llm.api.cloud.yandex.net} operation_url=${REST_URL:-https://operation.api.cloud.yandex.net}
auth="Authorization: Api-Key ${YC_API_KEY:-emulator}"
body='{"modelUri": "gpt://'${YC_FOLDER_ID:-demo}'/yandexgpt", "completionOptions": {"stream": false, "temperature": 0.1,
  "maxTokens": "2000"}, "messages": [{"role": "user", "text": "To be, or not to be"}]}'
answer=$(curl --silent --fail-with-body --request POST --header "Content-Type: application/json" --header "$auth" \
    --data "$body" "$model_url/foundationModels/v1/completionAsync")
id=$(sed -E 's/.*"id": ?"([a-z0-9]+)".*/\1/' <<< "$answer")
until operation=$(curl --silent --fail-with-body --header "$auth" "$operation_url/operations/$id") && grep -qE '"done": ?true' <<< "$operation"; do
    sleep 1
done
echo "$operation"
