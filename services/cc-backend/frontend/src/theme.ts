// Loaded as a plain script before first paint: the theme that was chosen in this browser, else that of the system.
{
  let theme: string | null = null;
  try {
    theme = localStorage.getItem("cc-theme");
  } catch {
    // Storage is switched off: the system decides.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
