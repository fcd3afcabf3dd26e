// Makes the pages live. Everything that it shows is HTML of the same address, asked for in parts (header X-Part).
"use strict";

const LIST_MILLISECONDS = 4000;
const GATHER_MILLISECONDS = 120;
const EVENTS = ["session_start", "message", "step_start", "thinking", "tool_call", "tool_result", "output",
  "step_complete", "compaction", "error", "state", "round_complete", "done", "gap"];

async function fetchPart(address, part) {
  const answer = await fetch(address, {headers: {"X-Part": part}});
  if (!answer.ok) throw new Error(`${answer.status} ${address}`);
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();
  return holder.content;
}

function followList(rows) {
  setInterval(async () => {
    if (document.hidden || rows.contains(document.activeElement)) return;
    try { rows.replaceChildren(await fetchPart(location.href, "rows")); } catch { /* the next time */ }
  }, LIST_MILLISECONDS);
}

// Replaces what is there by its id, and adds what is not: steps that go on stay where they are, open tools stay open.
function mergeTimeline(session, fresh) {
  const timeline = session.querySelector("[data-timeline]");
  for (const block of [...fresh.querySelectorAll("[data-timeline] > li")]) {
    const old = document.getElementById(block.id);
    if (!old) timeline.append(block);
    else if (old.dataset.seq !== block.dataset.seq) {
      const open = [...old.querySelectorAll("details")].map((one) => one.open);
      block.querySelectorAll("details").forEach((one, index) => { if (open[index]) one.open = true; });
      old.replaceWith(block);
    }
  }
  const head = session.querySelector("[data-head]"), goal = head.querySelector("details.goal")?.open;
  const newHead = fresh.querySelector("[data-head]");
  if (goal) newHead.querySelector("details.goal").open = true;
  head.replaceWith(newHead);
}

function followSession(session) {
  const head = () => session.querySelector("[data-head]").dataset.head;
  const source = new EventSource(`${session.dataset.live}&after=${head()}`);
  let waits = false;
  const refresh = async () => {
    waits = false;
    if (session.querySelector(".replaying")) return;
    const atEnd = innerHeight + scrollY > document.body.scrollHeight - 80;
    try { mergeTimeline(session, await fetchPart(location.pathname, "session")); } catch { return; }
    if (atEnd) scrollTo({top: document.body.scrollHeight});
    prepareSlider(session);
  };
  const note = () => { if (!waits) { waits = true; setTimeout(refresh, GATHER_MILLISECONDS); } };
  EVENTS.forEach((name) => source.addEventListener(name, note));
  source.addEventListener("done", () => source.close());
}

function prepareSlider(session) {
  const slider = session.querySelector("[data-slider]");
  if (!slider) return;
  slider.addEventListener("input", () => {
    slider.form.querySelector("output").value = `${slider.value} of ${slider.max}`;
  });
  slider.addEventListener("change", async () => {
    const address = `${location.pathname}?at=${slider.value}`;
    session.replaceChildren(await fetchPart(address, "session"));
    history.replaceState(null, "", address);
    prepareSlider(session);
    session.querySelector("[data-slider]").focus();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select")) {
    const search = document.querySelector("[data-search]");
    if (search) { event.preventDefault(); search.focus(); }
  }
});

const rows = document.querySelector("[data-rows]"), session = document.querySelector("[data-session]");
if (rows) followList(rows);
document.querySelector("[data-filters]")?.addEventListener("change", (event) => event.currentTarget.submit());
if (session) {
  prepareSlider(session);
  if (session.dataset.live) followSession(session);
}
