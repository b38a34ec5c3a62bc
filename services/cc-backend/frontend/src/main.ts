import "./styles/index.css";
import { type Component, mount } from "svelte";
import App from "./App.svelte";
import { readPage } from "./data/page";

/** One chunk per page; the names are those of the data block. `login` and `error` are whole on arrival and never load this. */
const PAGES: Record<string, () => Promise<{ default: Component }>> = {
  home: () => import("./pages/Home.svelte"),
  jobs: () => import("./pages/Jobs.svelte"),
  user: () => import("./pages/Jobs.svelte"),
  job: () => import("./pages/Job.svelte"),
  systems: () => import("./pages/Nodes.svelte"),
  node: () => import("./pages/Node.svelte"),
};

const page = readPage(document);
const target = document.getElementById("app");
const load = PAGES[page.page];
if (target && load) {
  const { default: Page } = await load();
  mount(App, { target, props: { page, Page } });
}
