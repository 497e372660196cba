import Link from "next/link";

export function Footer() {
  return (
    <footer className="footer">
      <div className="wrap footer-row">
        <p>AmIAnAI. Every conversation has one question.</p>
        <nav aria-label="Footer">
          <Link href="/how-it-works/">How it works</Link>
          <Link href="/about/">About</Link>
          <Link href="/sign-up/" prefetch={false}>Create an account</Link>
        </nav>
      </div>
    </footer>
  );
}
