// The one script of the console. Each page works without it: it adds live figures, keys, and the reader's own time.
"use strict";
(() => {
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));

  // Times: the server writes UTC, and the reader's own time is beside it, with its day where that is another one.
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const hour = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const isUtc = (moment) => moment.getTimezoneOffset() === 0;
  const short = (moment) => `${(moment.getDate() === moment.getUTCDate() ? hour : day).format(moment)} your time`;
  const showTimes = (from) => {
    for (const time of all("time[datetime]", from)) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const text = `${full.format(moment)} your time`;
      time.title = `${time.dateTime}\n${text}`;
      // The time of a live page is replaced as soon as the stream is connected.
      if (!isUtc(moment) && !time.closest("#live") && !time.nextElementSibling?.classList.contains("own")) {
        const beside = document.createElement("span");
        beside.className = "own muted";
        beside.textContent = time.dataset.own === undefined ? short(moment) : text;
        time.after(" ", beside);
      }
    }
  };
  showTimes(document);

  // On a phone, the pages are a line that scrolls. The page itself stays at the place that its address names.
  const here = document.querySelector("nav [aria-current=page]");
  const line = here?.closest("ul");
  if (line) line.scrollLeft += Math.max(0, here.getBoundingClientRect().right - line.getBoundingClientRect().right);

  // Rows: j and k move, Enter and a click anywhere open. A button in a row is no way to its page, nor is a link that filters the list.
  const rows = () => all("[data-row]");
  const linkOf = (row) => row.querySelector("a:not(.button, [data-filter])");
  document.addEventListener("click", (event) => {
    const row = event.target.closest("[data-row]");
    // The first click of a double-click, which selects an id, must not leave the page.
    const isOfItsOwn = event.target.closest("a, button, summary, input, select, textarea, label, .id, code");
    if (!row || isOfItsOwn || String(getSelection())) return;
    const link = linkOf(row);
    if (link && (event.ctrlKey || event.metaKey)) open(link.href);
    else link?.click();
  });
  let selected = -1;
  const select = (place) => {
    const list = rows();
    if (!list.length) return;
    list[selected]?.classList.remove("selected");
    selected = Math.max(0, Math.min(place, list.length - 1));
    list[selected].classList.add("selected");
    list[selected].scrollIntoView({ block: "nearest" });
    linkOf(list[selected])?.focus({ preventScroll: true });
  };

  const help = document.getElementById("keys");
  const places = {};
  for (const link of all("[data-key]")) places[link.dataset.key] = link.href;
  let waiting = false;
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=range]), textarea, select");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      event.target.blur?.();
      return;
    }
    if (typing) return;
    if (waiting) {
      waiting = false;
      const to = places[event.key];
      if (to) {
        event.preventDefault();
        location.href = to;
      }
      return;
    }
    if (event.key === "g") waiting = true;
    else if (event.key === "/") {
      event.preventDefault();
      const box = document.querySelector("main input[type=search]") ?? document.querySelector(".find input");
      box?.focus();
      box?.select();
    } else if (event.key === "j") select(selected + 1);
    else if (event.key === "k") select(selected - 1);
    else if (event.key === "?") help?.showModal();
    else if (event.key === "Enter" && selected >= 0 && !event.target.matches("a, button, summary")) linkOf(rows()[selected])?.click();
  });
  all("[data-close]").forEach((button) => button.addEventListener("click", () => button.closest("dialog").close()));

  // The time slider: the page is loaded as of the moment where the handle is released.
  for (const range of all("input[type=range][data-moment]")) {
    const shown = range.form.querySelector("output");
    const time = shown.querySelector("time");
    const ticks = range.dataset.moment.split(" ").map(Number);
    const say = () => {
      const moment = new Date(range.value * 1000).toISOString();
      const text = `${moment.slice(0, 16).replace("T", " ")} UTC`;
      time.dateTime = moment;
      time.textContent = text;
      shown.replaceChildren(time);
      showTimes(shown);
      range.setAttribute("aria-valuetext", text);
    };
    range.step = 1;
    range.value = range.defaultValue;
    let isDragged = false;
    range.addEventListener("pointerdown", () => (isDragged = true));
    range.addEventListener("input", say);
    range.addEventListener("change", () => isDragged && range.form.requestSubmit());
    // A key must not load the page before the moment is right: arrows move from event to event, Enter shows the moment.
    range.addEventListener("keydown", (event) => {
      isDragged = false;
      const back = ["ArrowLeft", "ArrowDown"].includes(event.key);
      if (back || ["ArrowRight", "ArrowUp"].includes(event.key)) {
        event.preventDefault();
        const here = Number(range.value);
        range.value = (back ? ticks.findLast((tick) => tick < here) : ticks.find((tick) => tick > here)) ?? here;
        say();
      } else if (event.key === "Enter") {
        event.preventDefault();
        range.form.requestSubmit();
      }
    });
  }
  for (const select of all("[data-submit]")) select.addEventListener("change", () => select.form.requestSubmit());

  // Live figures: only text changes, so nothing moves under the pointer.
  const dot = document.getElementById("live");
  if (dot && window.EventSource) {
    const state = dot.querySelector("[data-state]");
    const say = (on, text) => {
      dot.querySelector(".dot").className = `dot ${on ? "on" : "off"}`;
      if (state.textContent !== text) state.textContent = text;
    };
    const clock = (moment) => `${moment.toISOString().slice(11, 16)} UTC${isUtc(moment) ? "" : ` (${short(moment)})`}`;
    const stale = document.getElementById("stale");
    const issues = document.querySelector("[data-issues]");
    // Without the stream, the verdict may be out of date.
    const trust = (on) => issues?.classList.toggle("old", !on);
    let stopped, source, retry;
    const receive = (message) => {
      const sent = JSON.parse(message.data);
      for (const [name, text] of Object.entries(sent.figures)) {
        for (const place of all(`[data-live="${CSS.escape(name)}"]`)) {
          if (place.textContent === text) continue;
          place.textContent = text;
          place.classList.remove("fresh");
          void place.offsetWidth;
          place.classList.add("fresh");
        }
      }
      if (issues) stale.hidden = issues.dataset.issues === sent.issues;
    };
    const disconnect = () => {
      clearTimeout(retry);
      source?.close();
    };
    const hasExpiries = document.querySelector("[data-live=expiring]") !== null;
    const connect = () => {
      disconnect();
      source = new EventSource(`/console/live${hasExpiries ? "?expiring=true" : ""}`);
      source.onmessage = receive;
      source.onopen = () => {
        stopped = undefined;
        say(true, "live");
        trust(true);
      };
      source.onerror = () => {
        stopped ??= clock(new Date());
        say(false, `not connected since ${stopped}`);
        trust(false);
        // On a phone, there is no room for both.
        stale.hidden = true;
        // The browser connects again by itself, but not after an error of the server, which may be starting.
        if (source.readyState === EventSource.CLOSED) retry = setTimeout(connect, 3000);
      };
    };
    // A tab that nobody sees must not take one of the few connections that a browser opens to a host.
    const follow = () => (document.hidden ? disconnect() : connect());
    follow();
    document.addEventListener("visibilitychange", follow);
    addEventListener("pagehide", disconnect);
  }
})();
