// The page of the emulator. It shows what /-/events sends, and its buttons call /-/control/<method>.
// Everything that comes from the emulator is put into the page as text, never as HTML.
"use strict";

const replies = new Map(); // the answers that this page has set, by pattern
let frozen = false;

const byId = (id) => document.getElementById(id);

function element(name, text = "", className = "") {
  const built = document.createElement(name);
  built.textContent = text;
  if (className) built.className = className;
  return built;
}

function token() {
  const given = location.hash.slice(1);
  if (given) sessionStorage.setItem("token", given);
  return given || sessionStorage.getItem("token") || "";
}

async function control(method, request) {
  byId("message").textContent = "";
  try {
    const answer = await fetch(`/-/control/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-emulator-token": token() },
      body: JSON.stringify(request),
    });
    if (answer.ok) return true;
    byId("message").textContent = (await answer.json()).message;
  } catch (error) {
    byId("message").textContent = `The emulator can't be reached: ${error.message}`;
  }
  return false;
}

function onSubmit(id, act) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}

const ACTIONS = {
  unavailable: { fail: { code: 14, message: "The service is unavailable" } },
  exhausted: { fail: { code: 8, message: "quota limit exceed" } },
  internal: { fail: { code: 13, message: "Internal error" } },
  delay: { delay: { seconds: 5 } },
  hang: { hang: {} },
  lost: { loseReply: {} },
  drop: { dropConnection: {} },
};

onSubmit("advance", () => control("AdvanceTime", { seconds: Number(byId("seconds").value) }));
byId("freeze").addEventListener("click", () => control("AdvanceTime", { frozen: !frozen }));
onSubmit("fault", () => {
  const fault = { ...ACTIONS[byId("action").value] };
  if (byId("method").value) fault.method = byId("method").value;
  if (byId("times").value) fault.times = Number(byId("times").value);
  control("AddFaults", { faults: [fault] });
});
byId("clear").addEventListener("click", () => control("ClearFaults", {}));
onSubmit("reply", async () => {
  const pattern = byId("pattern").value;
  const wanted = new Map(replies).set(pattern, byId("text").value);
  const listed = [...wanted].map(([one, text]) => ({ pattern: one, text }));
  if (await control("SetReplies", { replies: listed })) replies.set(pattern, byId("text").value);
});
onSubmit("reset", async () => {
  if (await control("Reset", {})) replies.clear();
});

function age(seconds) {
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

function row(cells) {
  const built = element("tr");
  built.append(...cells);
  return built;
}

function showOperations(shown) {
  byId("totals").textContent = `${shown.running} running, ${shown.done} done`;
  const rows = shown.operations.map((one) =>
    row([
      element("td", one.number, "number"),
      element("td", one.id),
      element("td", one.done ? "done" : one.left === null ? "running" : `running, ${age(one.left)} left`,
        one.done ? "done" : "running"),
      element("td", age(one.age), "number"),
      element("td", one.model),
      element("td", one.words, "words"),
      element("td", one.tokens ?? "", "number"),
    ]),
  );
  byId("operations").replaceChildren(...rows);
}

const SVG = "http://www.w3.org/2000/svg";

const sum = (counts) => counts.reduce((total, count) => total + count, 0);

// One bar per second, the refusals in front of the calls.
function chart(calls, refusals) {
  const built = document.createElementNS(SVG, "svg");
  built.setAttribute("viewBox", `0 0 ${calls.length} 20`);
  built.setAttribute("preserveAspectRatio", "none");
  const highest = Math.max(1, ...calls);
  for (const [kind, counts] of [["calls", calls], ["refusals", refusals]]) {
    counts.forEach((count, at) => {
      if (!count) return;
      const height = (19 * count) / highest;
      const bar = document.createElementNS(SVG, "rect");
      bar.setAttribute("class", kind);
      bar.setAttribute("x", at);
      bar.setAttribute("y", 20 - height);
      bar.setAttribute("width", 0.9);
      bar.setAttribute("height", height);
      built.append(bar);
    });
  }
  built.setAttribute("role", "img");
  built.setAttribute("aria-label", `${sum(calls)} calls, ${sum(refusals)} refused, at most ${highest} calls a second`);
  return built;
}

function showMethods(shown) {
  const rows = shown.methods.map((one) => {
    const name = element("td");
    name.append(element("code", one.path.split(".").pop()));
    const drawn = element("td");
    drawn.append(chart(one.calls, one.refusals));
    return row([
      name,
      element("td", sum(one.calls), "number"),
      element("td", sum(one.refusals), "number"),
      drawn,
    ]);
  });
  byId("methods").replaceChildren(...rows);
}

function showQuotas(shown) {
  if (!shown.quotas.length) {
    byId("quotas").replaceChildren(element("p", "No quotas are enforced (--quota).", "none"));
    return;
  }
  const grid = element("div", "", "quota");
  for (const quota of shown.quotas) {
    const meter = element("meter");
    meter.max = Math.max(1, quota.allowed);
    meter.high = 0.9 * meter.max;
    meter.value = quota.used;
    meter.setAttribute("aria-label", quota.name);
    grid.append(element("code", quota.name), meter, element("span", `${quota.used} of ${quota.allowed}`));
  }
  byId("quotas").replaceChildren(grid);
}

function showFaults(shown) {
  const items = shown.faults.map(({ fault, applied }) => {
    const item = element("li");
    item.append(element("code", JSON.stringify(fault)), ` applied ${applied} times`);
    return item;
  });
  byId("faults").replaceChildren(...(items.length ? items : [element("li", "none", "none")]));
}

function show(shown) {
  frozen = shown.frozen;
  byId("connection").textContent = "connected";
  byId("clock").textContent = new Date(shown.now * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";
  byId("frozen").textContent = frozen ? "frozen" : "";
  byId("freeze").textContent = frozen ? "Unfreeze" : "Freeze";
  showOperations(shown);
  showMethods(shown);
  showQuotas(shown);
  showFaults(shown);
}

token();
const events = new EventSource("/-/events");
events.onmessage = (event) => show(JSON.parse(event.data));
events.onerror = () => {
  byId("connection").textContent = "not connected; trying again";
};
