import Link from "next/link";

import { AccountLink } from "@/components/AccountLink";
import { Mark } from "@/components/Mark";

export function Header() {
  return (
    <header className="header">
      <div className="wrap header-row">
        <Link className="brand" href="/" aria-label="AmIAnAI, home">
          <Mark />
          <span className="brand-name">AmIAnAI</span>
        </Link>
        <nav aria-label="Main">
          <Link href="/how-it-works/">How it works</Link>
          <Link href="/about/">About</Link>
          <AccountLink />
        </nav>
      </div>
    </header>
  );
}
