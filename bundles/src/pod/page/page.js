"use strict";

// All that is shown goes through textContent: what containers write stays text.
const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

const ago = (seconds) => {
  if (!seconds) return "";
  const past = Math.max(0, Math.floor(Date.now() / 1000) - seconds);
  if (past < 120) return `${past} s`;
  if (past < 7200) return `${Math.floor(past / 60)} min`;
  if (past < 172800) return `${Math.floor(past / 3600)} h`;
  return `${Math.floor(past / 86400)} days`;
};

const sign = { HEALTHY: "✓", STARTED: "▸", FAILING: "!", TERMINAL: "✕", FINISHED: "■", FAILED: "✕", CREATED: "…" };

const probe = (one) => {
  if (one.passed === undefined) return `${one.probe}: not yet`;
  if (one.passed) return `✓ ${one.probe}: passes`;
  return `✕ ${one.probe}: failed ${one.inARow} in a row (${one.message || "no reason given"})`;
};

const row = (container) => {
  const line = make("tr");
  line.append(make("th", container.name, { scope: "row" }), make("td", container.role));
  const state = make("td", `${sign[container.state] || ""} ${container.state}`, { class: "word" });
  line.append(state);
  line.append(make("td", container.reason || ""));
  line.append(make("td", container.ready ? "ready" : "not ready"));
  line.append(make("td", String(container.restarts)));
  const since = make("td", ago(container.since));
  since.dataset.since = container.since;
  line.append(since);
  line.append(make("td", container.exitStatus === undefined ? "" : String(container.exitStatus)));
  const probes = make("td");
  for (const one of container.probes || []) probes.append(make("div", probe(one)));
  line.append(probes);
  return line;
};

const heads = ["Container", "Role", "State", "Reason", "Ready", "Restarts", "Since", "Exit", "Probes"];

const pod = (one) => {
  const name = `${one.namespace}/${one.name}`;
  const box = make("article", undefined, { class: one.healthy ? "healthy" : "unhealthy", "aria-label": `Pod ${name}` });
  box.append(make("h2", name));
  const words = [one.phase, one.healthy ? "✓ healthy" : "✕ not healthy", one.ready ? "ready" : "not ready"];
  if (one.reason) words.push(one.reason);
  if (one.exitStatus !== undefined) words.push(`exit status ${one.exitStatus}`);
  box.append(make("p", words.join(" · ")));
  const table = make("table");
  table.append(make("caption", `Containers of ${name}`));
  const top = make("tr");
  for (const head of heads) top.append(make("th", head, { scope: "col" }));
  const header = make("thead");
  header.append(top);
  const body = make("tbody");
  for (const container of one.containers) {
    body.append(row(container));
    if ((container.log || []).length > 0) {
      const line = make("tr");
      const cell = make("td", undefined, { colspan: String(heads.length) });
      cell.append(make("pre", container.log.join("\n"), { "aria-label": `Last lines of ${container.name}` }));
      line.append(cell);
      body.append(line);
    }
  }
  table.append(header, body);
  const scroll = make("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": `Containers of ${name}` });
  scroll.append(table);
  box.append(scroll);
  return box;
};

const summary = document.getElementById("summary");
const say = (text) => { if (summary.textContent !== text) summary.textContent = text; };

const show = (pods) => {
  const bad = pods.filter((one) => !one.healthy).length;
  const count = pods.length === 1 ? "1 pod" : `${pods.length} pods`;
  say(pods.length === 0 ? "There are no pods." : bad === 0 ? `${count}, all healthy.` : `${count}, ${bad} not healthy.`);
  document.getElementById("pods").replaceChildren(...pods.map(pod));
  document.body.dataset.state = "shown";
};

let last = "";
const look = async () => {
  if (!document.hidden) {
    try {
      const answer = await fetch("/page.json");
      if (!answer.ok) throw new Error(answer.statusText);
      const text = await answer.text();
      // Only what has changed is drawn anew: a selection, or a reader's place, stays.
      if (text !== last) show(JSON.parse(text));
      last = text;
    } catch {
      last = "";
      say("The connection is lost; what is shown is the last that was heard. Trying again…");
    }
    for (const cell of document.querySelectorAll("td[data-since]")) cell.textContent = ago(Number(cell.dataset.since));
  }
  setTimeout(look, 1000);
};
look();
