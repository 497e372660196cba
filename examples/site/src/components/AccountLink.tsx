"use client";

import Link from "next/link";
import { useEffect, useState } from "react";

import { onSessionChange, seemsSignedIn } from "@/lib/session";

/** Where one signs in, or the account. Not fetched ahead: those pages carry the auth library. */
export function AccountLink() {
  const [signedIn, setSignedIn] = useState(false);

  useEffect(() => {
    const update = () => setSignedIn(seemsSignedIn());
    update();
    return onSessionChange(update);
  }, []);

  return (
    <Link className="button small" href={signedIn ? "/account/" : "/sign-in/"} prefetch={false}>
      {signedIn ? "Account" : "Sign in"}
    </Link>
  );
}
