// What scrolls by itself can be reached by the keyboard.
for (const box of document.querySelectorAll("pre, article table, div.math")) {
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) {
    box.tabIndex = 0;
  }
}
// docutils calls the bibliography a list, but its entries are no items of one.
for (const list of document.querySelectorAll(".citation-list")) {
  list.removeAttribute("role");
}
