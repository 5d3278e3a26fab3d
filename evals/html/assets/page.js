"use strict";
// Reads the run from its data block. Everything in there was written by models and strangers: it reaches the page
// through textContent and the `value` of options only, never as markup.
(() => {
  const PAGE = 25;
  const RIGHT = 0.5; // from here an answer counts as right, like `pass_at` of a policy
  const VALUE = 0, KIND = 1, REASON = 2, RESPONSE = 3, INPUT = 4, OUTPUT = 5, COST = 6, SECONDS = 7;

  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const samples = data.samples.map(([id, task, subtask, messages, reference, answers]) => ({
    id, task: data.tasks[task], subtask, messages, reference, answers, text: null,
  }));
  const form = find("filters");
  const state = { task: "", candidate: "", show: "", q: "", sample: "" };
  let found = [], page = 0;

  function make(name, className, ...children) {
    const element = document.createElement(name);
    if (className) element.className = className;
    for (const child of children) element.append(child); // a string becomes a text node
    return element;
  }

  // A sample's worth for one candidate: mean over repeats, null when no repeat could be scored or none was asked.
  function worth(sample, place) {
    const values = sample.answers[place].map((answer) => answer[VALUE]).filter((value) => value !== null);
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  }

  function isDiscordant(sample) {
    const values = sample.answers.map((_, place) => worth(sample, place)).filter((value) => value !== null);
    return values.some((value) => value >= RIGHT) && values.some((value) => value < RIGHT);
  }

  const SHOWS = {
    "": () => true,
    wrong: (sample, places) => places.some((place) => worth(sample, place) !== null && worth(sample, place) < RIGHT),
    right: (sample, places) => places.every((place) => worth(sample, place) === null || worth(sample, place) >= RIGHT)
      && places.some((place) => worth(sample, place) !== null),
    discordant: (sample, places) => isDiscordant(sample) && places.some((place) => worth(sample, place) !== null),
    failed: (sample, places) => places.some((place) => sample.answers[place].some((answer) => answer[KIND] !== "scored")),
  };

  function textOf(sample) {
    // Made on the first search and kept: lower-casing megabytes on every key would be felt.
    sample.text ??= [sample.id, sample.subtask, ...sample.messages.map((message) => message[1]), sample.reference,
      ...sample.answers.flat().map((answer) => answer[RESPONSE])].join("\n").toLowerCase();
    return sample.text;
  }

  function filtered() {
    const chosen = data.candidates.indexOf(state.candidate);
    const places = chosen < 0 ? data.candidates.map((_, place) => place) : [chosen];
    const fits = SHOWS[state.show] ?? SHOWS[""];
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    return samples.filter((sample) => (!state.task || sample.task === state.task)
      && (chosen < 0 || sample.answers[chosen].length > 0)
      && fits(sample, places)
      && words.every((word) => textOf(sample).includes(word)));
  }

  function mark(value, kinds) {
    if (kinds.length === 0) return ["–", "none", "not asked"];
    if (kinds.every((kind) => kind === "failed")) return ["!", "broken", "call failed"];
    if (value === null) return ["·", "none", "unscored"];
    if (value === 1) return ["✓", "right", "right"];
    if (value === 0) return ["✕", "wrong", "wrong"];
    return [value.toFixed(2), value >= RIGHT ? "right" : "wrong", `score ${value.toFixed(2)}`];
  }

  function markOf(sample, place) {
    const [sign, kind, said] = mark(worth(sample, place), sample.answers[place].map((answer) => answer[KIND]));
    const element = make("span", `mark-${kind}`, sign);
    element.title = `${data.candidates[place]}: ${said}`;
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", element.title);
    return element;
  }

  function excerpt(sample) {
    const text = sample.messages.length ? sample.messages[sample.messages.length - 1][1] : "";
    return text.slice(0, 160).replace(/\s+/g, " ").trim() || "(empty prompt)";
  }

  function showRows() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const shown = found.slice(page * PAGE, (page + 1) * PAGE);
    find("count").textContent = `${found.length.toLocaleString("en")} of ${samples.length.toLocaleString("en")} samples`;
    find("place").textContent = `${page + 1} of ${pages}`;
    find("before").disabled = page === 0;
    find("after").disabled = page === pages - 1;
    find("rows").replaceChildren(...shown.map((sample) => {
      const button = make("button", "row",
        make("span", "row-text", make("span", "row-task", sample.subtask ? `${sample.task} / ${sample.subtask}` : sample.task),
          bidi(make("span", "row-prompt", excerpt(sample)))),
        make("span", "marks", ...sample.answers.map((_, place) => markOf(sample, place))));
      button.type = "button";
      button.dataset.id = sample.id;
      if (sample.id === state.sample) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => { open(sample.id); reveal(); });
      return make("li", "", button);
    }));
  }

  // Text of unknown direction must not turn its neighbours around.
  function bidi(element) {
    element.dir = "auto";
    return element;
  }

  function block(title, text, className) {
    return make("section", className, make("h4", "", title), bidi(make("pre", text ? "" : "nothing", text || "(empty)")));
  }

  // For 1,000 answers like this one: a single one often costs too little to be read.
  function money(each) {
    if (each === null) return "cost unknown";
    const amount = each * 1000;
    if (amount === 0) return "$0";
    const places = amount >= 1 ? 2 : Math.min(12, 2 - Math.floor(Math.log10(amount)));
    return `$${amount.toFixed(places)} per 1,000 at list price`;
  }

  function answerOf(answer) {
    const [sign, kind, said] = mark(answer[VALUE], [answer[KIND]]);
    const facts = [`${answer[INPUT]} tokens in, ${answer[OUTPUT]} out`, money(answer[COST])];
    if (answer[SECONDS] !== null) facts.push(`${Number(answer[SECONDS].toPrecision(3))} s`);
    return make("div", "answer",
      make("p", `grade mark-${kind}`, make("span", "sign", sign), make("b", "", said), bidi(make("span", "reason", answer[REASON]))),
      bidi(make("pre", answer[RESPONSE] ? "" : "nothing", answer[RESPONSE] || "(no text)")),
      make("p", "muted", answer[KIND] === "failed" ? "no answer, counts as wrong" : facts.join(", ")));
  }

  function showSample() {
    const place = found.findIndex((sample) => sample.id === state.sample);
    const sample = found[place];
    const article = find("sample");
    if (!sample) {
      article.replaceChildren(make("p", "muted empty", found.length ? "Choose a sample." : "No sample fits these filters."));
      return;
    }
    const step = (text, by) => {
      const button = make("button", "", text);
      button.type = "button";
      button.disabled = !found[place + by];
      button.addEventListener("click", () => { move(by); reveal(); });
      return button;
    };
    const back = make("a", "back", "Back to the list");
    back.href = "#answers";
    back.addEventListener("click", (event) => { event.preventDefault(); find("viewer").scrollIntoView(); currentRow()?.focus(); });
    const heading = sample.subtask ? `${sample.task} / ${sample.subtask}` : sample.task;
    article.setAttribute("aria-label", `Sample ${sample.id}`);
    article.replaceChildren(
      make("header", "", make("h3", "", heading), make("code", "muted", sample.id),
        make("span", "steps", back, make("span", "muted", `${place + 1} of ${found.length.toLocaleString("en")}`),
          step("Previous", -1), step("Next", 1))),
      ...sample.messages.map(([role, text]) => block(role, text, "message")),
      block("reference", sample.reference, "message reference"),
      make("div", "answers", ...sample.answers.map((answers, column) => {
        const card = make("section", "candidate", make("h4", "", data.candidates[column]));
        if (data.candidates[column] === state.candidate) card.classList.add("chosen");
        card.append(...(answers.length ? answers.map(answerOf) : [make("p", "muted", "not asked")]));
        return card;
      })));
  }

  const currentRow = () => find("rows").querySelector("[aria-current]");

  // On a narrow screen the sample stands below the list and has to be brought into view.
  function reveal() {
    const article = find("sample");
    if (article.getBoundingClientRect().top > window.innerHeight * 0.6 || window.innerWidth < 900) {
      article.scrollIntoView({ block: "start" });
      article.focus({ preventScroll: true });
    }
  }

  function open(id) {
    state.sample = id;
    const place = found.findIndex((sample) => sample.id === id);
    if (place >= 0) page = Math.floor(place / PAGE);
    const hadFocus = find("rows").contains(document.activeElement);
    showRows();
    showSample();
    find("sample").scrollTop = 0;
    if (hadFocus) currentRow()?.focus({ preventScroll: true });
    const row = currentRow(), list = find("rows");
    if (row && list.scrollHeight > list.clientHeight) {
      const box = row.getBoundingClientRect(), frame = list.getBoundingClientRect();
      if (box.top < frame.top) list.scrollTop -= frame.top - box.top;
      if (box.bottom > frame.bottom) list.scrollTop += box.bottom - frame.bottom;
    }
    remember();
  }

  function move(by) {
    const place = found.findIndex((sample) => sample.id === state.sample);
    const next = found[place < 0 ? 0 : place + by];
    if (next) open(next.id);
  }

  function turn(by) {
    const next = found[(page + by) * PAGE];
    if (next && page + by >= 0) open(next.id);
  }

  function refresh() {
    found = filtered();
    if (!found.some((sample) => sample.id === state.sample)) state.sample = found.length ? found[0].id : "";
    page = Math.floor(Math.max(0, found.findIndex((sample) => sample.id === state.sample)) / PAGE);
    showRows();
    showSample();
  }

  // The filters live in the fragment, so that a link opens the page where it was read.
  function remember() {
    const kept = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
    try { history.replaceState(null, "", `#${kept}`); } catch { /* a sandboxed frame has no history */ }
  }

  function recall() {
    const fragment = location.hash.slice(1);
    if (fragment && !fragment.includes("=")) return false; // a link to a section
    const given = new URLSearchParams(fragment);
    for (const name of Object.keys(state)) state[name] = given.get(name) ?? "";
    for (const name of ["task", "candidate", "show", "q"]) {
      form.elements[name].value = state[name];
      if (form.elements[name].value !== state[name]) state[name] = form.elements[name].value = "";
    }
    return Boolean(fragment);
  }

  function choose(name, all, names) {
    form.elements[name].replaceChildren(...["", ...names].map((value) => new Option(value || all, value)));
  }

  const KEYS = {
    j: () => move(1), k: () => move(-1), n: () => turn(1), p: () => turn(-1), "/": () => form.elements.q.focus(),
  };

  function onKey(event) {
    const typing = event.target.closest("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing) { if (event.key === "Escape") typing.blur(); return; }
    const isArrow = find("rows").contains(event.target) && (event.key === "ArrowDown" || event.key === "ArrowUp");
    const act = isArrow ? () => move(event.key === "ArrowDown" ? 1 : -1) : KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  function themes() {
    const names = ["auto", "light", "dark"], button = find("theme");
    let chosen = "auto";
    const apply = () => {
      button.textContent = `Theme: ${chosen}`;
      if (chosen === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = chosen;
    };
    try { if (names.includes(localStorage.getItem("clearbar-theme"))) chosen = localStorage.getItem("clearbar-theme"); } catch { /* no storage here */ }
    button.hidden = false;
    button.addEventListener("click", () => {
      chosen = names[(names.indexOf(chosen) + 1) % names.length];
      try { localStorage.setItem("clearbar-theme", chosen); } catch { /* kept for this visit only */ }
      apply();
    });
    apply();
  }

  choose("task", "all tasks", data.tasks);
  choose("candidate", "all candidates", data.candidates);
  for (const id of ["filters", "hint", "viewer"]) find(id).hidden = false;
  let waiting = 0;
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    const read = () => {
      for (const name of ["task", "candidate", "show", "q"]) state[name] = form.elements[name].value;
      refresh();
      remember();
    };
    if (event.target.name === "q") waiting = setTimeout(read, 150); else read();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => form.dispatchEvent(new Event("input"))));
  find("before").addEventListener("click", () => turn(-1));
  find("after").addEventListener("click", () => turn(1));
  find("answers").addEventListener("keydown", onKey);
  window.addEventListener("hashchange", () => { if (recall()) refresh(); });
  themes();
  const isLink = recall();
  refresh();
  if (isLink) find("answers").scrollIntoView();
})();
