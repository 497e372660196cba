import type { Metadata } from "next";
import Image from "next/image";

import twoChairs from "@/images/two-chairs.svg";

export const metadata: Metadata = {
  title: "About",
  description: "Why AmIAnAI exists: an old question, asked by everybody.",
};

export default function About() {
  return (
    <article className="wrap narrow page">
      <h1>An old question, asked by everybody</h1>
      <p className="lead">
        In 1950 Alan Turing proposed a parlour game: can a judge tell a machine from a person by talking to both? For
        seventy years it was a thought experiment. Now it is an ordinary Tuesday.
      </p>
      <Image className="figure" src={twoChairs} alt="Two empty chairs face each other, a round one and a square one." priority />
      <p>
        We built AmIAnAI because most people meet machines that talk without noticing, and nobody practises noticing. It
        is a place to do that on purpose, with a partner who is in on it.
      </p>
      <h2>What we hold to</h2>
      <dl className="principles">
        <div>
          <dt>The answer always comes</dt>
          <dd>Every conversation ends with who it was. Nobody is left fooled.</dd>
        </div>
        <div>
          <dt>A persona is a costume</dt>
          <dd>Names and pasts are invented, by people as by models. Real identities stay out of it.</dd>
        </div>
        <div>
          <dt>Your words are yours</dt>
          <dd>Conversations train nothing. They are there to be read by the two who had them.</dd>
        </div>
      </dl>
    </article>
  );
}
