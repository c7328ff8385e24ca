// The one script of the console. Each page works without it: it adds live figures, keys, and the reader's own time.
"use strict";
(() => {
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));

  // Times: the server writes UTC; the reader's own time is beside it, or in the tooltip where there is no room.
  const own = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const showTimes = (from) => {
    for (const time of all("time[datetime]", from)) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const text = `${own.format(moment)} your time`;
      time.title = `${time.dateTime}\n${text}`;
      const isUtc = moment.getTimezoneOffset() === 0;
      // The time of a live page is replaced as soon as the stream is connected.
      if (time.dataset.own !== undefined && !isUtc && !time.closest("#live") && !time.nextElementSibling?.classList.contains("own")) {
        const beside = document.createElement("span");
        beside.className = "own muted";
        beside.textContent = ` ${text}`;
        time.after(beside);
      }
    }
  };
  showTimes(document);

  // On a phone, the pages are a line that scrolls. The page itself stays at the place that its address names.
  const here = document.querySelector("nav [aria-current=page]");
  const line = here?.closest("ul");
  if (line) line.scrollLeft += Math.max(0, here.getBoundingClientRect().right - line.getBoundingClientRect().right);

  // Rows: j and k move, Enter opens.
  const rows = () => all("[data-row]");
  let selected = -1;
  const select = (place) => {
    const list = rows();
    if (!list.length) return;
    list[selected]?.classList.remove("selected");
    selected = Math.max(0, Math.min(place, list.length - 1));
    list[selected].classList.add("selected");
    list[selected].scrollIntoView({ block: "nearest" });
    list[selected].querySelector("a")?.focus({ preventScroll: true });
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
    else if (event.key === "Enter" && selected >= 0 && !event.target.matches("a, button, summary")) rows()[selected].querySelector("a")?.click();
  });
  all("[data-close]").forEach((button) => button.addEventListener("click", () => button.closest("dialog").close()));

  // The time slider: the page is loaded as of the moment where the handle is released.
  for (const range of all("input[type=range][data-moment]")) {
    const shown = range.form.querySelector("output");
    const ticks = range.dataset.moment.split(" ").map(Number);
    const say = () => {
      const text = `${new Date(range.value * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
      shown.textContent = text;
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
    const clock = () => new Date().toISOString().slice(11, 16);
    let stopped, source;
    const receive = (message) => {
      const figures = JSON.parse(message.data);
      for (const [name, text] of Object.entries(figures)) {
        for (const place of all(`[data-live="${CSS.escape(name)}"]`)) {
          if (place.textContent === text) continue;
          place.textContent = text;
          place.classList.remove("fresh");
          void place.offsetWidth;
          place.classList.add("fresh");
        }
      }
      const verdict = document.querySelector("[data-verdict]");
      if (verdict && figures.verdict && verdict.dataset.verdict !== figures.verdict) {
        document.getElementById("stale")?.removeAttribute("hidden");
      }
    };
    const connect = () => {
      source = new EventSource("/console/live");
      source.onmessage = receive;
      source.onopen = () => {
        stopped = undefined;
        say(true, "live");
      };
      source.onerror = () => {
        stopped ??= clock();
        say(false, `not connected since ${stopped} UTC`);
        // On a phone, there is no room for both.
        document.getElementById("stale")?.setAttribute("hidden", "");
        // The browser connects again by itself, but not after an error of the server, which may be starting.
        if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
      };
    };
    connect();
    addEventListener("pagehide", () => source.close());
  }
})();
