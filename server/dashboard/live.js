"use strict";
// Keeps the page as the study stands: sections that change are replaced, all that the reader has opened or scrolled stays.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const main = document.getElementById("main");
  const link = document.getElementById("link");
  const clock = () => `${new Date().toISOString().slice(11, 19)} UTC`;
  const say = (state, words) => {
    link.className = state;
    if (link.textContent !== words) link.textContent = words;
  };

  const REACHED = "summary, a, input, [tabindex]";
  const touched = new Set();
  main.addEventListener("click", (event) => event.target.closest("summary") && touched.add(event.target.closest("section").id));
  // A training is open while it is the newest, unless the reader has chosen or is reading it.
  const fill = (section, part, kept) => {
    const open = all("details", section).map((one) => one.open);
    const checked = all("input", section).map((one) => one.checked);
    const scrolled = all(".box", section).map((one) => one.scrollLeft);
    const reached = all(REACHED, section).indexOf(document.activeElement);
    section.innerHTML = part.html;
    section.dataset.version = part.version;
    all("details", section).forEach((one, i) => i < open.length && (i || kept) && (one.open = open[i]));
    all("input", section).forEach((one, i) => (one.checked = checked[i] ?? one.checked));
    all(".box", section).forEach((one, i) => (one.scrollLeft = scrolled[i] ?? 0));
    if (reached >= 0) all(REACHED, section)[reached]?.focus({ preventScroll: true });
  };
  const show = (parts) => {
    // What the reader looks at stays where it is, whatever grows above it.
    const top = document.querySelector(".top").offsetHeight;
    const read = scrollY > 0 && [...main.children].find((one) => one.getBoundingClientRect().bottom > top);
    const before = read && read.getBoundingClientRect().top;
    const wanted = new Set(parts.map((part) => part.anchor));
    [...main.children].forEach((one) => wanted.has(one.id) || one.remove());
    parts.forEach((part, i) => {
      let section = document.getElementById(part.anchor);
      if (!section) {
        section = Object.assign(document.createElement("section"), { id: part.anchor, className: "panel" });
      }
      if (main.children[i] !== section) main.insertBefore(section, main.children[i] ?? null);
      if (section.dataset.version !== part.version) fill(section, part, touched.has(section.id) || section === read);
    });
    if (read && read.isConnected) scrollBy({ top: read.getBoundingClientRect().top - before, behavior: "instant" });
    age();
  };

  const age = () => all("time[data-at]").forEach((one) => {
    const seconds = Math.max(0, Math.round((Date.now() - Date.parse(one.dateTime)) / 1000));
    const minutes = Math.floor(seconds / 60);
    const ago = seconds < 60 ? `${seconds} s` : minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    one.textContent = `${one.dataset.at} (${ago} ago)`;
  });
  age();
  setInterval(age, 1000);

  let source = null;
  let ended = false;
  const connect = () => {
    source?.close();
    source = new EventSource("events");
    source.onopen = () => say("live", "live");
    source.onmessage = (event) => {
      say("live", `live, last change ${clock()}`);
      show(JSON.parse(event.data));
    };
    source.addEventListener("end", () => {
      ended = true;
      source.close();
      say("", `ended ${clock()}; this is where it stood`);
    });
    source.onerror = () => {
      if (!link.classList.contains("lost")) say("lost", `connection lost ${clock()}; trying again`);
      // The browser tries again by itself, but not after a refusal.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
    };
  };
  connect();
  // A browser keeps six connections to one place: tabs that nobody looks at leave theirs to others.
  document.addEventListener("visibilitychange", () => {
    if (ended) return;
    if (document.hidden) source.close();
    else connect();
  });
})();
