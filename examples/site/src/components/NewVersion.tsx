"use client";

import { useEffect, useState } from "react";

const EVERY_MS = 60_000;

async function publishedBuild(): Promise<string | null> {
  try {
    const response = await fetch("/version.json", { cache: "no-store" });
    if (!response.ok) return null;
    const { build } = (await response.json()) as { build?: unknown };
    return typeof build === "string" ? build : null;
  } catch {
    return null; // offline: ask again later
  }
}

/** Tells a tab that was open during a release that a newer site is there. Asks once a minute and when the tab is looked at again. */
export function NewVersion({ build }: Readonly<{ build: string }>) {
  const [outdated, setOutdated] = useState(false);

  useEffect(() => {
    if (process.env.NODE_ENV !== "production" || outdated) return;
    const check = async () => {
      if (document.visibilityState !== "visible") return;
      const published = await publishedBuild();
      if (published !== null && published !== build) setOutdated(true);
    };
    const timer = window.setInterval(check, EVERY_MS);
    document.addEventListener("visibilitychange", check);
    return () => {
      window.clearInterval(timer);
      document.removeEventListener("visibilitychange", check);
    };
  }, [build, outdated]);

  return (
    <div className="notice-area" role="status">
      {outdated && (
        <div className="notice">
          <p>A new version is available.</p>
          <button className="button small" type="button" onClick={() => window.location.reload()}>
            Reload
          </button>
        </div>
      )}
    </div>
  );
}
