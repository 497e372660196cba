import type { Metadata, Viewport } from "next";
import localFont from "next/font/local";

import { Footer } from "@/components/Footer";
import { Header } from "@/components/Header";
import { NewVersion } from "@/components/NewVersion";
import { buildId, siteUrl } from "@/lib/settings";

import "./globals.css";

const display = localFont({
  src: "../../node_modules/@fontsource-variable/bricolage-grotesque/files/bricolage-grotesque-latin-wght-normal.woff2",
  weight: "200 800",
  variable: "--font-display",
  fallback: ["system-ui", "sans-serif"],
});

const text = localFont({
  src: "../../node_modules/@fontsource-variable/figtree/files/figtree-latin-wght-normal.woff2",
  weight: "300 900",
  variable: "--font-text",
  fallback: ["system-ui", "sans-serif"],
});

const description = "Talk to somebody and find out: is your chat partner a human or an AI?";

export const metadata: Metadata = {
  metadataBase: siteUrl,
  title: { default: "AmIAnAI: human or machine?", template: "%s · AmIAnAI" },
  description,
  applicationName: "AmIAnAI",
  openGraph: { type: "website", siteName: "AmIAnAI", title: "AmIAnAI: human or machine?", description, url: "/" },
  formatDetection: { telephone: false, email: false, address: false },
};

export const viewport: Viewport = {
  colorScheme: "light dark",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#faf7f2" },
    { media: "(prefers-color-scheme: dark)", color: "#14131a" },
  ],
};

export default function RootLayout({ children }: Readonly<{ children: React.ReactNode }>) {
  return (
    <html lang="en" className={`${display.variable} ${text.variable}`}>
      <body>
        <a className="skip" href="#content">
          Skip to content
        </a>
        <Header />
        <main id="content" tabIndex={-1}>
          {children}
        </main>
        <Footer />
        <NewVersion build={buildId} />
      </body>
    </html>
  );
}
