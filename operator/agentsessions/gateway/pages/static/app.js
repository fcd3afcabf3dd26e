// Makes the pages live. What it shows is HTML of the same address, asked for in parts (header X-Part), and text.
"use strict";

const LIST_MILLISECONDS = 4000, GATHER_MILLISECONDS = 250, AGAIN_MILLISECONDS = 1500;
const EVENTS = ["session_start", "message", "step_start", "thinking", "tool_call", "tool_result", "output", "edited",
  "redacted", "step_complete", "compaction", "error", "state", "policy_decision", "approval", "source", "difference",
  "replay_complete", "round_complete", "done", "gap"];
const find = (selector, where = document) => where.querySelector(selector);
const all = (selector, where = document) => [...where.querySelectorAll(selector)];

function parse(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content;
}

async function fetchPart(address, options = {}) {
  const answer = await fetch(address, {...options, headers: {...options.headers, "X-Part": "1"}});
  const part = parse(await answer.text());
  if (!answer.ok) throw Object.assign(new Error(`${answer.status} ${address}`), {status: answer.status, part});
  return part;
}

function tell(text) {
  const state = find("[data-live-state]");
  if (state.textContent !== text) state.textContent = text;
}

// --- the list

function followList(rows) {
  setInterval(async () => {
    if (document.hidden || rows.contains(document.activeElement)) return;
    try { rows.replaceChildren(await fetchPart(location.href)); tell("live"); } catch { tell("reconnecting…"); }
  }, LIST_MILLISECONDS);
}

// --- a session

// Pieces of the page are replaced where they differ, but for the one that somebody is at.
function mergePieces(session, part) {
  for (const piece of all("[data-piece]", part)) {
    const old = document.getElementById(piece.id);
    if (!old) find("[data-refusal]", session).before(piece);
    else if (!old.isEqualNode(piece) && !old.contains(document.activeElement)) {
      keepOpen(old, piece);
      old.replaceWith(piece);
    }
  }
}

function keepOpen(old, fresh) {
  const open = all("details", old).map((one) => one.open);
  all("details", fresh).forEach((one, index) => { if (open[index]) one.open = true; });
}

// Replaces what is there by its id and adds what is not: steps that go on stay where they are.
function mergeTimeline(session, fresh) {
  const timeline = find("[data-timeline]", session);
  for (const block of all("[data-timeline] > li", fresh)) {
    const old = document.getElementById(block.id);
    if (!old) timeline.append(block);
    else if (old.dataset.seq !== block.dataset.seq) {
      keepOpen(old, block);
      old.replaceWith(block);
    }
  }
  timeline.dataset.until = find("[data-timeline]", fresh).dataset.until;
}

function merge(session, part) {
  const {head, over} = find("[data-head]", part).dataset, isFull = find("#piece-acts", part);
  Object.assign(find("[data-head]", session).dataset, {head, over});
  if (!find("[data-composer]", part)) find("[data-composer]", session)?.remove();
  if (!isFull) find("#piece-acts", session)?.remove();
  mergeTimeline(session, part);
  mergePieces(session, part);
  prepare(session);
}

async function refresh(session) {
  const timeline = find("[data-timeline]", session), seen = Number(timeline.dataset.until);
  const isAtEnd = innerHeight + scrollY > document.body.scrollHeight - 120;
  let part = await fetchPart(location.href, {headers: {"X-Seen": seen}});
  if (Number(find("[data-timeline]", part).dataset.first) > seen + 1) {  // much happened: begin with the newest again
    part = await fetchPart(location.href);
    timeline.replaceChildren();
    find("[data-older]", session).replaceWith(find("[data-older]", part).cloneNode(true));
  }
  merge(session, part);
  if (isAtEnd && seen) scrollTo({top: document.body.scrollHeight});
}

function follow(session) {
  const isOver = () => find("[data-head]", session).dataset.over || !session.dataset.live;
  let source, waits = false;
  const update = async () => {
    waits = false;
    if (!session.dataset.live) return;
    try { await refresh(session); tell(isOver() ? "" : "live"); } catch { tell("reconnecting…"); note(AGAIN_MILLISECONDS); }
  };
  const note = (milliseconds) => { if (!waits) { waits = true; setTimeout(update, milliseconds); } };
  const open = () => {
    if (isOver()) { tell(""); return; }
    let isBroken = false;
    source?.close();
    source = new EventSource(`${session.dataset.live}?after=${find("[data-timeline]", session).dataset.until}`);
    source.onopen = () => { if (isBroken) note(0); else tell("live"); };
    source.onerror = () => {
      if (isOver()) { source.close(); return; }
      isBroken = true;
      tell("reconnecting…");
      // A browser comes back by itself from a broken connection, and not from an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) { note(AGAIN_MILLISECONDS); setTimeout(open, 2 * AGAIN_MILLISECONDS); }
    };
    EVENTS.forEach((name) => source.addEventListener(name, () => note(GATHER_MILLISECONDS)));
    source.addEventListener("delta", (event) => write(JSON.parse(event.data)));
    source.addEventListener("done", () => { source.close(); note(GATHER_MILLISECONDS); });
  };
  // Browsers have few connections for each site: a page that nobody sees gives its own back.
  const look = () => {
    source?.close();
    if (!document.hidden && session.dataset.live) { note(0); open(); }
  };
  document.addEventListener("visibilitychange", look);
  open();
  session.addEventListener("leave", () => { source?.close(); tell(""); });
}

// Text of an answer under way; the whole answer follows in any case.
function write(delta) {
  const step = all(".step.open").findLast((one) => one.dataset.agent === delta.agent
    && Number(one.dataset.step) === delta.step);
  const written = step && find("[data-written]", step);
  if (!written) return;
  if (delta.offset === 0) written.textContent = "";
  else if (delta.offset !== Number(written.dataset.next)) written.textContent += " … ";  // some were lost
  written.textContent += delta.text;
  written.dataset.next = delta.offset + [...delta.text].length;
}

async function submit(session, form) {
  const refusal = find("[data-refusal]", session), buttons = all("button", form).filter((one) => !one.disabled);
  const body = new URLSearchParams(new FormData(form));
  buttons.forEach((one) => { one.disabled = true; });
  try {
    const part = await fetchPart(form.action, {method: "POST", body,
      headers: {"X-Seen": find("[data-timeline]", session).dataset.until}});
    refusal.hidden = true;
    form.reset();
    const key = find("[data-composer] [name=key]", part), mine = find("[name=key]", form);
    if (key && mine) mine.value = key.value;  // the next message; until this one is stored it keeps its key
    document.activeElement.blur();
    merge(session, part);
    if (form.matches("[data-composer]")) find("textarea", form).focus();
  } catch (error) {
    refusal.replaceChildren(error.part ?? "It could not be sent. Try again; what was sent twice is done once.");
    refusal.hidden = false;
    refusal.scrollIntoView({block: "nearest"});
  } finally {
    buttons.forEach((one) => { one.disabled = false; });
  }
}

async function addOlder(link) {
  const part = await fetchPart(link.href), timeline = find("[data-timeline]");
  const height = document.body.scrollHeight;
  for (const block of all("[data-timeline] > li", part).reverse()) {
    // A step that the page cuts in two is shown where its end is.
    if (!document.getElementById(block.id)) timeline.prepend(block);
  }
  find("[data-older]").replaceWith(find("[data-older]", part));
  prepare(find("[data-session]"));
  scrollBy(0, document.body.scrollHeight - height);
}

async function showAt(session, address) {
  session.dispatchEvent(new Event("leave"));
  delete session.dataset.live;
  session.replaceChildren(await fetchPart(address));
  history.replaceState(null, "", address);
  prepare(session);
  find("[data-slider]", session).focus();
}

function once(element, name) {
  if (!element || element.dataset[name]) return false;
  element.dataset[name] = "yes";
  return true;
}

// Gives what is new on the page its behaviour.
function prepare(session) {
  const slider = find("[data-slider]", session);
  if (once(slider, "ready")) {
    slider.addEventListener("input", () => { find("output", slider.form).value = `${slider.value} of ${slider.max}`; });
    slider.addEventListener("change", () => {
      const asked = new URLSearchParams(new FormData(slider.form));
      if (slider.value === slider.max) {  // the end is now, and goes on
        asked.delete("at");
        location.assign(`${session.dataset.session}?${asked}`);
      } else showAt(session, `${session.dataset.session}?${asked}`);
    });
  }
  for (const command of all(".command", session)) {
    if (!once(command, "ready") || !navigator.clipboard) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(find("code", command).textContent);
      button.textContent = "Copied";
    });
    command.append(button);
  }
}

function begin(session) {
  prepare(session);
  session.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-act], [data-composer]")) return;
    event.preventDefault();
    submit(session, event.target);
  });
  session.addEventListener("click", (event) => {
    const link = event.target.closest("[data-more]");
    if (link) { event.preventDefault(); addOlder(link); }
  });
  session.addEventListener("keydown", (event) => {
    const isSent = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (isSent && event.target.matches("[data-composer] textarea")) {
      event.preventDefault();
      event.target.form.requestSubmit();
    }
  });
  if (session.dataset.live) follow(session);
}

// --- every page

const KEYS = {
  "/": () => find("[data-search], [data-composer] textarea")?.focus(),
  t: () => find(".views a:first-child")?.click(),
  c: () => find(".views a:last-child")?.click(),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
});

const rows = find("[data-rows]"), session = find("[data-session]");
if (rows) followList(rows);
find("[data-filters]")?.addEventListener("change", (event) => event.currentTarget.requestSubmit());
if (session) begin(session);
