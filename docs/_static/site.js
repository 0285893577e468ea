addEventListener("DOMContentLoaded", () => {
  // What scrolls sideways can be reached and scrolled with the keyboard.
  const mark = () => {
    for (const each of document.querySelectorAll("pre, .picture, .table-wrapper")) {
      if (each.scrollWidth > each.clientWidth) {
        each.tabIndex = 0;
      } else {
        each.removeAttribute("tabindex");
      }
    }
  };
  mark();
  addEventListener("load", mark); // only then has every picture its size
  addEventListener("resize", mark);

  // What the theme leaves out for screen readers.
  const label = (selector, name, value) =>
    document.querySelectorAll(selector).forEach((each) => each.setAttribute(name, value));
  label('.caption[role="heading"]', "aria-level", "2");
  label("aside.sidebar-drawer", "aria-label", "All pages");
  label("aside.toc-drawer", "aria-label", "On this page");
});
