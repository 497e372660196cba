import Link from "next/link";

export default function NotFound() {
  return (
    <section className="wrap narrow page center">
      <p className="eyebrow">404</p>
      <h1>Nobody is at this address</h1>
      <p className="lead">Neither a human nor an AI. The page may have moved, or the link may be wrong.</p>
      <p>
        <Link className="button" href="/">
          Back to the start
        </Link>
      </p>
    </section>
  );
}
