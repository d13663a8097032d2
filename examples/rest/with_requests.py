"""An asynchronous completion over REST, with requests.

REST_URL names the emulator; without it the service is called.
"""

import os
import time

import requests

MODELS = os.environ.get("REST_URL", "https://llm.api.cloud.yandex.net")
OPERATIONS = os.environ.get("REST_URL", "https://operation.api.cloud.yandex.net")

session = requests.Session()
session.headers["Authorization"] = f"Api-Key {os.environ.get('YC_API_KEY', 'emulator')}"
operation = session.post(
    f"{MODELS}/foundationModels/v1/completionAsync",
    json={
        "modelUri": f"gpt://{os.environ.get('YC_FOLDER_ID', 'demo')}/yandexgpt",
        "completionOptions": {"temperature": 0.1, "maxTokens": "2000"},
        "messages": [{"role": "user", "text": "To be, or not to be"}],
    },
    timeout=60,
).json()
while not operation["done"]:
    time.sleep(1)
    operation = session.get(f"{OPERATIONS}/operations/{operation['id']}", timeout=60).json()
print(operation["response"]["alternatives"][0]["message"]["text"])
