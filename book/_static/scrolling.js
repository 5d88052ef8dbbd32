// What is wider than the page scrolls in a box of its own, which the keyboard must reach; the theme sees to code and outputs.
function reachBoxes() {
  for (const box of document.querySelectorAll("mjx-container[display], .pst-scrollable-table-container"))
    box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
}

addEventListener("resize", reachBoxes);
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachBoxes();
});
// The theme looks again when the window changes its size; what is folded has none before it opens.
document.addEventListener("toggle", () => dispatchEvent(new Event("resize")), { capture: true });
