import type { MetadataRoute } from "next";

import { siteUrl } from "@/lib/settings";

export const dynamic = "force-static";

export default function sitemap(): MetadataRoute.Sitemap {
  return ["", "how-it-works/", "about/"].map((path) => ({ url: new URL(path, siteUrl).href }));
}
