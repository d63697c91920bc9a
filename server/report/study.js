"use strict";
// What the study report does beyond showing its content: tabs, choices, values on hover, pictures at full size.
// Everything can be read and printed without it.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, fields, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  document.documentElement.classList.add("js");

  // Tabs, after the WAI-ARIA pattern; what is hidden can still be found by the browser's search.
  const tabs = all(".tabs a");
  const panels = tabs.map((tab) => document.getElementById(tab.hash.slice(1)));
  document.querySelector(".tabs").role = "tablist";
  tabs.forEach((tab, i) => {
    tab.role = "tab";
    tab.id = `tab-${panels[i].id}`;
    tab.setAttribute("aria-controls", panels[i].id);
    panels[i].role = "tabpanel";
    panels[i].setAttribute("aria-labelledby", tab.id);
    panels[i].addEventListener("beforematch", () => open(panels[i]));
    // The browser's own way there would take the keyboard's place from the tab.
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      if (location.hash !== tab.hash) history.pushState(null, "", tab.hash);
      follow();
      tab.focus();
    });
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const to = { ArrowLeft: i ? i - 1 : last, ArrowRight: i < last ? i + 1 : 0, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      tabs[to].click();
    });
  });
  const open = (panel) => {
    panels.forEach((one, i) => {
      const chosen = one === panel;
      tabs[i].setAttribute("aria-selected", chosen);
      tabs[i].tabIndex = chosen ? 0 : -1;
      if (chosen) one.removeAttribute("hidden");
      else one.setAttribute("hidden", "until-found");
    });
    tabs[panels.indexOf(panel)].scrollIntoView({ block: "nearest", inline: "nearest" });
    hint();
  };

  // Choices: one of several alternatives, or the rows of one value of a table's first column. The same place, such as a
  // hospital, is chosen everywhere at once.
  const choosers = [];
  const chooser = (label, titles, show, before, everything) => {
    const select = make("select");
    titles.forEach((title) => select.add(new Option(title)));
    if (everything) select.add(new Option(everything));
    const choose = (index) => {
      select.selectedIndex = index;
      show(index);
      hint();
    };
    select.addEventListener("change", () => {
      choose(select.selectedIndex);
      for (const other of choosers) {
        const same = other.titles.indexOf(select.value.toLowerCase());
        if (other.label === label && other.select !== select && same >= 0) other.choose(same);
      }
    });
    before.before(make("label", { className: "chooser" }, `${label} `, select));
    choosers.push({ label, select, choose, titles: titles.map((title) => title.toLowerCase()) });
    show(0);
    return choose;
  };
  for (const choice of all(".choice")) {
    const options = all(":scope > .option", choice);
    if (options.length < 2) continue;
    const show = (index) => options.forEach((option, i) => {
      if (i === index) option.removeAttribute("hidden");
      else option.setAttribute("hidden", "until-found");
    });
    const choose = chooser(choice.dataset.label, options.map((option) => option.dataset.title), show, options[0]);
    options.forEach((option, i) => {
      option.choose = () => choose(i);
      option.addEventListener("beforematch", option.choose);
    });
  }
  for (const box of all("[data-by]")) {
    const rows = all("tbody tr", box);
    const titles = [...new Set(rows.map((row) => row.cells[0].textContent))];
    if (titles.length < 2 || rows.length < 6) continue;
    const show = (index) => rows.forEach((row) => {
      row.hidden = index < titles.length && row.cells[0].textContent !== titles[index];
    });
    chooser(box.dataset.by, titles, show, box, "all");
  }

  // A wide table says on which side more of it is.
  const hint = () => all(".box").forEach((box) => {
    const rest = box.scrollWidth - box.clientWidth;
    box.classList.toggle("more-right", rest - box.scrollLeft > 2);
    box.classList.toggle("more-left", box.scrollLeft > 2);
    if (rest > 2) box.tabIndex = 0;
    else if (box.clientWidth) box.removeAttribute("tabindex");
  });
  all(".box").forEach((box) => box.addEventListener("scroll", hint, { passive: true }));
  addEventListener("resize", hint);

  // Charts: the value nearest to the pointer, or to the arrow keys.
  const tip = make("div", { className: "tip", role: "status" });
  document.body.append(tip);
  const say = (point) => {
    all(".point.on").forEach((one) => one.classList.remove("on"));
    tip.textContent = point ? point.dataset.words : "";
    tip.classList.toggle("shown", Boolean(point));
    if (!point) return;
    point.classList.add("on");
    const mark = middle(point);
    const half = tip.offsetWidth / 2 + 4;
    tip.style.left = `${Math.max(half, Math.min(innerWidth - half, mark.x))}px`;
    tip.style.top = `${Math.max(tip.offsetHeight + 14, mark.y) - 10}px`;
  };
  const middle = (point) => {
    const { left, top, width, height } = (point.querySelector(".mark") ?? point).getBoundingClientRect();
    return { x: left + width / 2, y: top + height / 2 };
  };
  for (const chart of all(".chart > svg")) {
    const points = all(".point", chart);
    if (!points.length) continue;
    points.forEach((point) => {
      const title = point.querySelector("title");
      point.dataset.words = title.textContent;
      title.remove();
    });
    let at = -1;
    chart.tabIndex = 0;
    chart.addEventListener("pointermove", (event) => {
      const far = points.map((point) => {
        const { x, y } = middle(point);
        return Math.hypot(x - event.clientX, y - event.clientY);
      });
      const nearest = far.indexOf(Math.min(...far));
      say(far[nearest] < 40 ? points[nearest] : null);
    });
    chart.addEventListener("pointerleave", () => say(null));
    chart.addEventListener("focus", () => chart.matches(":focus-visible") && say(points[(at = Math.max(at, 0))]));
    chart.addEventListener("blur", () => say(null));
    chart.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return say(null);
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      at = (at + step + points.length) % points.length;
      say(points[at]);
    });
  }
  addEventListener("scroll", () => say(null), { passive: true });

  // Pictures: those that belong together, enlarged side by side.
  const heading = make("p", { className: "title" });
  const shown = make("div", { className: "enlarged" });
  const outlines = make("input", { type: "checkbox", className: "switch", id: "outline-enlarged" });
  const outlinesLabel = make("label", { htmlFor: outlines.id }, "Outline the lesions");
  const steps = [["Previous", -1], ["Next", 1]].map(([name, step]) =>
    make("button", { type: "button", onclick: () => enlarge(groups[groups.indexOf(current) + step]) }, name));
  const close = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = make("dialog", { className: "viewer" }, heading, outlines, outlinesLabel, shown, make("p", {}, ...steps, close));
  dialog.setAttribute("aria-label", "Pictures, enlarged");
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: 0, ArrowRight: 1 }[event.key];
    if (step !== undefined) steps[step].click();
  });
  dialog.addEventListener("close", () => current.querySelector("[role=button]").focus());
  document.body.append(dialog);
  let groups = [];
  let current;
  const enlarge = (group) => {
    current = group;
    heading.textContent = group.dataset.group;
    shown.replaceChildren(...all(".picture", group).map((picture) => {
      const copy = picture.cloneNode(true);
      const slice = copy.querySelector(".slice");
      ["role", "tabindex", "aria-label", "aria-haspopup"].forEach((name) => slice.removeAttribute(name));
      if (!copy.querySelector("figcaption")) copy.prepend(make("figcaption", {}, copy.querySelector("img").alt.split(": ").pop()));
      return copy;
    }));
    outlines.hidden = outlinesLabel.hidden = !shown.querySelector(".outline");
    const place = groups.indexOf(group);
    steps[0].disabled = place === 0;
    steps[1].disabled = place === groups.length - 1;
    if (!dialog.open) dialog.showModal();
  };
  for (const group of all("[data-group]")) {
    const begin = () => {
      groups = all("[data-group]", group.closest(".gallery, .generators"));
      outlines.checked = group.closest(".gallery")?.querySelector(".switch")?.checked ?? false;
      enlarge(group);
    };
    all(".slice", group).forEach((slice, i) => {
      slice.role = "button";
      slice.tabIndex = i ? -1 : 0;
      slice.setAttribute("aria-label", `Enlarge: ${slice.querySelector("img").alt}`);
      slice.setAttribute("aria-haspopup", "dialog");
      slice.addEventListener("click", begin);
      slice.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        begin();
      });
    });
  }

  // A link to any part opens the tab, the alternative and the fold that it lies in.
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const panel = (target && target.closest(".panel")) || panels[0];
    open(panel);
    if (!target) return;
    for (let one = target; one && one !== panel; one = one.parentElement) {
      one.choose?.();
      if (one.localName === "details") one.open = true;
    }
    if (target === panel) scrollTo(0, 0);
    else target.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => all("details").forEach((one) => (one.open = true)));
  follow();
})();
