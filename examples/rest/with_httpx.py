"""A streamed completion over REST, with httpx. REST_URL names the emulator; without it the service is called."""

import json
import os

import httpx

body = {
    "modelUri": f"gpt://{os.environ.get('YC_FOLDER_ID', 'demo')}/yandexgpt",
    "completionOptions": {"stream": True, "temperature": 0.1, "maxTokens": "2000"},
    "messages": [{"role": "user", "text": "To be, or not to be"}],
}
headers = {"Authorization": f"Api-Key {os.environ.get('YC_API_KEY', 'emulator')}"}
url = f"{os.environ.get('REST_URL', 'https://llm.api.cloud.yandex.net')}/foundationModels/v1/completion"
with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as response:
    response.raise_for_status()
    for line in response.iter_lines():
        print(json.loads(line)["result"]["alternatives"][0]["message"]["text"])
