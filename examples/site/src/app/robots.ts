import type { MetadataRoute } from "next";

import { siteUrl } from "@/lib/settings";

export const dynamic = "force-static";

export default function robots(): MetadataRoute.Robots {
  return {
    rules: { userAgent: "*", allow: "/", disallow: ["/account/", "/reset-password/"] },
    sitemap: new URL("sitemap.xml", siteUrl).href,
  };
}
