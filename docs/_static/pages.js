// What scrolls by itself can be reached by the keyboard.
for (const box of document.querySelectorAll("pre, article table, div.math")) {
  if (box.scrollWidth > box.clientWidth) {
    box.tabIndex = 0;
  }
}
