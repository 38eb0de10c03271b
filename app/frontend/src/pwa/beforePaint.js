// Before the first paint: which page it is (src/pwa/boot.tsx), and the theme that was chosen (src/settings/settings.ts).
document.documentElement.dataset.page = location.pathname;
try {
  const { theme, lessMotion } = JSON.parse(localStorage.getItem('sixty.settings') ?? '{}');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  if (lessMotion === true) document.documentElement.dataset.motion = 'less';
} catch {
  // No storage, or not what was written there: as the system has it.
}
