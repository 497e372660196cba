import { authConfigured } from "@/lib/settings";

/** The frame of every page about signing in: a card, or the reason why there is none. */
export function AuthPage({ title, children }: Readonly<{ title: string; children: React.ReactNode }>) {
  return (
    <section className="wrap auth">
      <div className="card">
        {authConfigured ? (
          <>
            {children}
            <noscript>
              <p className="problem">Signing in needs JavaScript.</p>
            </noscript>
          </>
        ) : (
          <>
            <h1>{title}</h1>
            <p className="lead">Sign-in is not configured in this build of the site.</p>
            <p>
              Set <code>NEXT_PUBLIC_USER_POOL_ID</code> and <code>NEXT_PUBLIC_USER_POOL_CLIENT_ID</code> and build it
              again.
            </p>
          </>
        )}
      </div>
    </section>
  );
}
