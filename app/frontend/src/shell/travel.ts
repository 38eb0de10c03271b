let back = false;

// Captured: the page that follows reads it while the event is handled. The router tells of its own steps by `pushState`.
if (typeof window !== 'undefined') {
  for (const [event, value] of [['popstate', true], ['pushState', false]] as const) {
    window.addEventListener(event, () => { back = value; }, { capture: true });
  }
}

/** Whether the browser's history led to the page that is shown, and not a link: where it was scrolled to is kept then. */
export function cameBack(): boolean {
  return back;
}
