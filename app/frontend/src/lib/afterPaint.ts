/** Runs `task` once the browser has painted what was changed so far; at once where nobody looks, as nothing is painted. */
export function afterPaint(task: () => void): void {
  if (document.visibilityState === 'hidden') task();
  else requestAnimationFrame(() => setTimeout(task));
}
